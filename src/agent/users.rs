//! Users and groups, read from the container's own files: a static program cannot ask the C library for them.

use std::{fs, io, path::PathBuf};

use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups};

use crate::connect::{Code, Error};

/// The file of users.
const PASSWD: &str = "/etc/passwd";

/// The file of groups.
const GROUP: &str = "/etc/group";

/// A user, as commands run and files are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The name, or the number where it has none.
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// All groups, `gid` among them.
    pub(crate) groups: Vec<Gid>,
    /// The home directory; `/` where none is known.
    pub(crate) home: PathBuf,
    /// The login shell; `/bin/sh` where none is known.
    pub(crate) shell: PathBuf,
}

impl User {
    /// Finds a user by `NAME`, `UID`, `NAME:GROUP` or `UID:GID`; an empty text is the user whom the agent runs as.
    ///
    /// # Errors
    ///
    /// `unauthenticated` (as in E2B) if there is no such user or group, `permission_denied` if the agent may not become it.
    pub(crate) fn find(given: &str) -> Result<Self, Error> {
        let unreadable = |path: &str, error: &io::Error| Error::io(&format!("cannot read {path}"), error);
        let passwd = read(PASSWD).map_err(|error| unreadable(PASSWD, &error))?;
        let group = read(GROUP).map_err(|error| unreadable(GROUP, &error))?;
        let mut user = Self::find_in(given, geteuid(), &passwd, &group)?;
        if given.is_empty() {
            // Its groups are those that the agent itself has.
            user.gid = getegid();
            user.groups = getgroups().unwrap_or_default();
        } else if !geteuid().is_root() && (user.uid, user.gid) != (geteuid(), getegid()) {
            let message = format!(
                "user {given:?}: the agent runs as user {}, and only root can become another; it is root where the image \
                 runs as root, or its template says privilege_escalation = true",
                geteuid()
            );
            return Err(Error::new(Code::PermissionDenied, message));
        }
        Ok(user)
    }

    /// Whether this is the user whom the agent runs as, so that nothing has to be changed for it.
    pub(crate) fn is_agents(&self) -> bool {
        (self.uid, self.gid) == (geteuid(), getegid())
    }

    fn find_in(given: &str, own: Uid, passwd: &str, group: &str) -> Result<Self, Error> {
        let own = own.to_string();
        let (name, wanted_group) = match given.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None if given.is_empty() => (own.as_str(), None),
            None => (given, None),
        };
        let unknown = |what: &str, name: &str| {
            let rule = "expected one of this sandbox, or a number";
            Error::new(Code::Unauthenticated, format!("invalid {what}: {name:?}; {rule}"))
        };
        let entries: Vec<_> = passwd.lines().filter_map(Entry::parse).collect();
        let number = name.parse::<u32>().ok();
        // A name that looks like a number wins, as with `docker exec`.
        let entry = entries.iter().find(|entry| entry.name == name);
        let entry = entry.or_else(|| entries.iter().find(|entry| Some(entry.uid) == number));
        let mut user = match (entry, number) {
            (Some(entry), _) => Self {
                name: entry.name.to_owned(),
                uid: Uid::from_raw(entry.uid),
                gid: Gid::from_raw(entry.gid),
                groups: Vec::new(),
                home: PathBuf::from(if entry.home.is_empty() { "/" } else { entry.home }),
                shell: PathBuf::from(if entry.shell.is_empty() { "/bin/sh" } else { entry.shell }),
            },
            (None, Some(number)) => Self {
                name: number.to_string(),
                uid: Uid::from_raw(number),
                gid: Gid::from_raw(0),
                groups: Vec::new(),
                home: PathBuf::from("/"),
                shell: PathBuf::from("/bin/sh"),
            },
            (None, None) => return Err(unknown("username", name)),
        };
        match wanted_group {
            // Other groups than the one that was asked for are not taken, as with `docker exec`.
            Some(wanted) => {
                let gid = group_named(group, wanted).or_else(|| wanted.parse().ok());
                user.gid = Gid::from_raw(gid.ok_or_else(|| unknown("group", wanted))?);
                user.groups = vec![user.gid];
            }
            None => {
                user.groups = vec![user.gid];
                let others = groups_of(group, &user.name).map(Gid::from_raw).filter(|gid| *gid != user.gid);
                user.groups.extend(others);
            }
        }
        Ok(user)
    }
}

/// The name of a user, or its number where it has none.
pub(crate) fn user_name(uid: u32) -> String {
    let passwd = read(PASSWD).unwrap_or_default();
    let found = passwd.lines().filter_map(Entry::parse).find(|entry| entry.uid == uid);
    found.map_or_else(|| uid.to_string(), |entry| entry.name.to_owned())
}

/// The number of a user that is given by its name or number.
pub(crate) fn user_number(given: &str) -> Option<u32> {
    let passwd = read(PASSWD).unwrap_or_default();
    let found = passwd.lines().filter_map(Entry::parse).find(|entry| entry.name == given);
    found.map(|entry| entry.uid).or_else(|| given.parse().ok())
}

/// The name of a group, or its number where it has none.
pub(crate) fn group_name(gid: u32) -> String {
    let group = read(GROUP).unwrap_or_default();
    let found = group.lines().filter_map(group_entry).find(|(_, number, _)| *number == gid);
    found.map_or_else(|| gid.to_string(), |(name, ..)| name.to_owned())
}

/// The number of a group that is given by its name or number.
pub(crate) fn group_number(given: &str) -> Option<u32> {
    group_named(&read(GROUP).unwrap_or_default(), given).or_else(|| given.parse().ok())
}

/// A container may have none of the files; then it has only numbers.
fn read(path: &str) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(String::new())
        }
        Err(error) => Err(error),
    }
}

/// A line of `/etc/passwd`.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (_, home, shell) = (fields.next(), fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        Some(Self { name, uid: uid.trim().parse().ok()?, gid: gid.trim().parse().ok()?, home, shell: shell.trim() })
    }
}

/// The name, number and members of a line of `/etc/group`.
fn group_entry(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, gid.trim().parse().ok()?, fields.next().unwrap_or_default().trim()))
}

fn group_named(group: &str, name: &str) -> Option<u32> {
    group.lines().filter_map(group_entry).find(|(known, ..)| *known == name).map(|(_, gid, _)| gid)
}

fn groups_of<'a>(group: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    let is_member = move |members: &str| members.split(',').any(|member| member.trim() == user);
    group.lines().filter_map(group_entry).filter(move |(.., members)| is_member(members)).map(|(_, gid, _)| gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/bash\n# a comment\n\nuser:x:1000:100:,,,:/home/user:/bin/zsh\nbare:x:7:8\n";
    const GROUPS: &str = "root:x:0:\nusers:x:100:user\nwheel:x:10:root,user\ndocker:x:998:other\n";

    fn find(given: &str) -> Result<User, Error> {
        User::find_in(given, Uid::from_raw(1000), USERS, GROUPS)
    }

    fn numbers(user: &User) -> (u32, u32, Vec<u32>) {
        (user.uid.as_raw(), user.gid.as_raw(), user.groups.iter().map(|gid| gid.as_raw()).collect())
    }

    #[test]
    fn a_user_has_the_home_the_shell_and_all_groups_of_the_files() {
        let user = find("user").unwrap();
        assert_eq!(numbers(&user), (1000, 100, vec![100, 10]));
        assert_eq!((user.home, user.shell), ("/home/user".into(), "/bin/zsh".into()));
        let bare = find("bare").unwrap();
        assert_eq!((bare.home, bare.shell), ("/".into(), "/bin/sh".into()));
    }

    #[test]
    fn no_user_is_the_one_of_the_agent() {
        assert_eq!(find("").unwrap(), find("user").unwrap());
    }

    #[test]
    fn numbers_need_no_entry() {
        assert_eq!(numbers(&find("1000").unwrap()), (1000, 100, vec![100, 10]));
        let stranger = find("4242").unwrap();
        assert_eq!((stranger.name.as_str(), numbers(&stranger)), ("4242", (4242, 0, vec![0])));
        assert_eq!(numbers(&find("4242:4343").unwrap()), (4242, 4343, vec![4343]));
        assert_eq!(numbers(&find("user:wheel").unwrap()), (1000, 10, vec![10]));
        assert_eq!(numbers(&User::find_in("5", Uid::from_raw(0), "", "").unwrap()), (5, 0, vec![0]));
    }

    #[test]
    fn unknown_names_are_refused() {
        for given in ["nobody", "user:nobody", ":", "-1", "4294967296"] {
            let error = find(given).unwrap_err();
            assert_eq!(error.code, Code::Unauthenticated, "{given}");
        }
    }
}
