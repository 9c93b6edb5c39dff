//! Finds the login for a registry: in the configuration, else in the Docker client's `config.json` or by its credential
//! helper.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{
    error::CallError,
    settings::{Login, Registries},
};

/// The registry of images that name none.
const HUB: &str = "docker.io";
/// Its name in the Docker client's configuration and in a login.
const HUB_ADDRESS: &str = "https://index.docker.io/v1/";
/// Its other names.
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// How many look-ups may run at once. A hanging helper keeps its thread, so their number must be limited.
const LOOKUPS: usize = 4;

/// A helper's message when it has no login, which is no failure.
const NOT_FOUND: &str = "credentials not found";

/// Looks up logins. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keyring {
    logins: Arc<BTreeMap<String, Login>>,
    file: Option<Arc<Path>>,
    lookups: Arc<Semaphore>,
    limit: Duration,
}

/// The result of a look-up.
pub(super) struct Found {
    registry: String,
    source: Source,
    /// `None` to pull without a login.
    pub(super) credentials: Option<DockerCredentials>,
}

enum Source {
    Settings,
    Client(PathBuf),
    /// There is no login; with the file that was searched.
    Nowhere(Option<PathBuf>),
    /// The look-up failed for this reason.
    Unreadable(PathBuf, String),
}

impl Keyring {
    /// `limit` is the timeout of one look-up.
    pub(super) fn new(registries: Registries, limit: Duration) -> Self {
        let logins = registries.logins.into_iter().map(|(name, login)| (canonical(&name).to_owned(), login)).collect();
        Self {
            logins: Arc::new(logins),
            file: registries.client_config.map(|directory| directory.join("config.json").into()),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            limit,
        }
    }

    /// Looks up the login for the registry of `image`. Never fails, since most images need no login.
    pub(super) async fn look_up(&self, image: &str) -> Found {
        let registry = registry_of(image).to_owned();
        if let Some(login) = self.logins.get(&registry) {
            let credential = DockerCredential::UsernamePassword(login.username.clone(), login.password.clone());
            let credentials = Some(credentials(&registry, credential));
            return Found { registry, source: Source::Settings, credentials };
        }
        let Some(file) = self.file.clone() else {
            return Found { registry, source: Source::Nowhere(None), credentials: None };
        };
        let path = file.to_path_buf();
        let (source, credentials) = match self.ask_client(file, address(&registry).to_owned()).await {
            Ok(Some(credential)) => (Source::Client(path), Some(credentials(&registry, credential))),
            Ok(None) => (Source::Nowhere(Some(path)), None),
            Err(reason) => {
                tracing::warn!(
                    registry,
                    "the registry's login could not be looked up in {}, so images are pulled without: {reason}",
                    path.display()
                );
                (Source::Unreadable(path, reason), None)
            }
        };
        Found { registry, source, credentials }
    }

    /// Reads the client's configuration and runs its helper. Uses a thread of its own: the program's end would wait for the
    /// runtime's blocking threads, and so for a hanging helper.
    async fn ask_client(&self, file: Arc<Path>, address: String) -> Result<Option<DockerCredential>, String> {
        let late = || format!("no answer within {:?}", self.limit);
        let asked = async {
            let lookup = Arc::clone(&self.lookups).acquire_owned().await;
            let (sender, receiver) = oneshot::channel();
            let work = move || {
                let answer = read(&file, &address);
                drop(lookup);
                // The receiver is gone if the answer is late.
                let _ = sender.send(answer);
            };
            let spawned = thread::Builder::new().name("credentials".to_owned()).spawn(work);
            spawned.map_err(|error| error.to_string())?;
            receiver.await.unwrap_or_else(|_gone| Err("the look-up broke off".to_owned()))
        };
        timeout(self.limit, asked).await.unwrap_or_else(|_elapsed| Err(late()))
    }
}

impl Found {
    /// Advice for a pull that the registry refused for its login or the lack of one; empty for other failures.
    pub(super) fn advice(&self, error: &CallError) -> String {
        if !is_about_login(error) {
            return String::new();
        }
        let registry = &self.registry;
        match &self.source {
            Source::Settings => format!("; {registry} was shown the login of docker.registries: check it"),
            Source::Client(file) => {
                format!("; {registry} was shown the login that {} leads to: check it", file.display())
            }
            Source::Nowhere(file) => format!(
                "; there is no login for {registry}{}: run `docker login {registry}`, or set docker.registries",
                file.as_ref().map(|file| format!(" in docker.registries or {}", file.display())).unwrap_or_default()
            ),
            Source::Unreadable(file, reason) => format!(
                "; the login for {registry} could not be looked up in {}: {reason}; mend that, or set docker.registries",
                file.display()
            ),
        }
    }
}

/// Whether an error is about the login. Engines pass on a registry's refusal with various statuses and messages. Registries
/// say of an image that needs a login that it does not exist or that access is denied.
fn is_about_login(error: &CallError) -> bool {
    const WORDS: [&str; 5] =
        ["unauthorized", "no basic auth credentials", "denied", "authentication required", "forbidden"];
    match error {
        CallError::Refused { status: 401 | 403, .. } => true,
        CallError::Refused { message, .. } | CallError::Broken(message) => {
            let message = message.to_ascii_lowercase();
            WORDS.iter().any(|word| message.contains(word))
        }
        CallError::Unreachable { .. } | CallError::TimedOut(_) | CallError::NoImage => false,
    }
}

/// The registry of an image: the text before the first slash, if it looks like a host.
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host == "localhost" || host.contains(['.', ':']) => canonical(host),
        _ => HUB,
    }
}

fn canonical(registry: &str) -> &str {
    if HUB_ALIASES.contains(&registry) { HUB } else { registry }
}

fn address(registry: &str) -> &str {
    if registry == HUB { HUB_ADDRESS } else { registry }
}

fn credentials(registry: &str, credential: DockerCredential) -> DockerCredentials {
    let none = DockerCredentials { serveraddress: Some(address(registry).to_owned()), ..Default::default() };
    match credential {
        DockerCredential::UsernamePassword(username, password) => {
            DockerCredentials { username: Some(username), password: Some(password), ..none }
        }
        DockerCredential::IdentityToken(token) => DockerCredentials { identitytoken: Some(token), ..none },
    }
}

/// Reads the Docker client's login for `address`. Blocks while a helper runs.
fn read(file: &Path, address: &str) -> Result<Option<DockerCredential>, String> {
    let open = match File::open(file) {
        Ok(open) => open,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    match get_credential_from_reader(BufReader::new(open), address) {
        Ok(credential) => Ok(Some(credential)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains(NOT_FOUND) => Ok(None),
        // The helper's output may contain the secret.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => Err(format!("{helper} failed")),
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            Err("the credential helper that it names cannot be run; is it on the PATH?".to_owned())
        }
        Err(CredentialRetrievalError::ConfigReadError) => Err("it is not the JSON of a Docker client".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(logins: &[(&str, &str)], config: Option<(&tempfile::TempDir, &str)>) -> Keyring {
        let login = |user: &str| Login { username: user.to_owned(), password: "open sesame".to_owned() };
        let logins = logins.iter().map(|(name, user)| ((*name).to_owned(), login(user))).collect();
        let client_config = config.map(|(directory, text)| {
            std::fs::write(directory.path().join("config.json"), text).unwrap();
            directory.path().to_owned()
        });
        Keyring::new(Registries { logins, client_config }, Duration::from_secs(10))
    }

    fn refused() -> CallError {
        CallError::Refused { status: 500, message: "no basic auth credentials".to_owned() }
    }

    #[test]
    fn the_registry_is_what_the_reference_begins_with_if_that_is_a_host() {
        for (image, registry) in [
            ("busybox", "docker.io"),
            ("busybox:stable", "docker.io"),
            ("team/tool", "docker.io"),
            ("docker.io/team/tool", "docker.io"),
            ("index.docker.io/team/tool", "docker.io"),
            ("localhost/tool", "localhost"),
            ("ghcr.io/a/b@sha256:00ff", "ghcr.io"),
            ("registry:5000/tool:1", "registry:5000"),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
    }

    #[tokio::test]
    async fn the_settings_win_over_the_client_and_each_registry_has_its_own_login() {
        let directory = tempfile::tempdir().unwrap();
        // "client:secret" in base64, as `docker login` writes it.
        let config = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "Y2xpZW50OnNlY3JldA=="},
            "ghcr.io": {"auth": "Y2xpZW50OnNlY3JldA=="}, "quay.io": {"identitytoken": "token"}}}"#;
        let keyring = keyring(&[("ghcr.io", "ours"), ("index.docker.io", "hub")], Some((&directory, config)));
        let user = async |image| keyring.look_up(image).await.credentials.map(|found| found.username);
        assert_eq!(user("ghcr.io/a/b").await, Some(Some("ours".to_owned())));
        assert_eq!(user("busybox").await, Some(Some("hub".to_owned())));
        assert_eq!(user("elsewhere.io/a").await, None);
        let token = keyring.look_up("quay.io/a").await.credentials.unwrap();
        assert_eq!((token.identitytoken.as_deref(), token.username), (Some("token"), None));
        let client = Keyring { logins: Arc::default(), ..keyring.clone() };
        let hub = client.look_up("team/tool").await.credentials.unwrap();
        assert_eq!((hub.username.as_deref(), hub.password.as_deref()), (Some("client"), Some("secret")));
        assert_eq!(hub.serveraddress.as_deref(), Some("https://index.docker.io/v1/"));
    }

    #[tokio::test]
    async fn what_cannot_be_looked_up_is_told_only_when_a_registry_asks_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let other = CallError::Refused { status: 500, message: "no route to host".to_owned() };
        for (config, words) in [
            (Some("{}"), "there is no login for ghcr.io in docker.registries or /"),
            (Some("no json"), "it is not the JSON of a Docker client"),
            (Some(r#"{"credsStore": "that-nobody-has"}"#), "is it on the PATH?"),
            (Some(r#"{"auths": {"ghcr.io": {"auth": "%"}}}"#), "Unable to decode credential"),
            (None, "there is no login for ghcr.io: run `docker login ghcr.io`, or set docker.registries"),
        ] {
            let found = keyring(&[], config.map(|config| (&directory, config))).look_up("ghcr.io/a").await;
            assert!(found.credentials.is_none());
            let advice = found.advice(&refused());
            assert!(advice.contains(words), "{advice}");
            assert_eq!(found.advice(&other), "");
        }
    }

    #[test]
    fn a_login_is_never_printed() {
        let login = Login { username: "robot".to_owned(), password: "open sesame".to_owned() };
        let registries = Registries { logins: [("a".to_owned(), login)].into(), client_config: None };
        let text = format!("{registries:?}");
        assert!(text.contains("robot") && !text.contains("sesame"), "{text}");
    }
}
