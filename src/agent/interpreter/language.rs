//! What differs between the languages.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::json;

/// The parts of Python's driver, in the order in which they are run.
const PYTHON: &str = concat!(
    include_str!("python/channel.py"),
    include_str!("python/charts.py"),
    include_str!("python/display.py"),
    include_str!("python/imports.py"),
    include_str!("python/magics.py"),
    include_str!("python/driver.py"),
);

/// Reads the driver from the agent's socket and runs it. Arguments are short, and everybody in the container sees them.
const PYTHON_START: &str = "import os,sys\nf,n=map(int,sys.argv[1:])\n\
                            if sys.version_info<(3,8):os.write(f,b'failed this image has a python3 before 3.8\\n');exit()\n\
                            b=b''\nwhile len(b)<n:b+=os.read(f,n-len(b))or exit()\n\
                            exec(compile(b,'<sandglass>','exec'),{'__name__':'sandglass_driver','CONTROL':f})";

const JAVASCRIPT: &str = include_str!("javascript/driver.js");

const JAVASCRIPT_START: &str = "{const[f,n,l]=process.argv.slice(1),b=Buffer.alloc(+n);for(let i=0;i<n;)\
                                i+=fs.readSync(+f,b,i,n-i)||process.exit();\
                                new Function('require','CONTROL','LANGUAGE',b)(require,+f,l)}";

const BASH: &str = concat!(include_str!("driver.bash"), "\0");

const BASH_START: &str = r#"IFS= read -r -d '' -u "$1" __sandglass; eval "$__sandglass""#;

/// A language that contexts can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    JavaScript,
    TypeScript,
    Bash,
}

/// How a driver is started.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Driver {
    pub(super) program: &'static str,
    pub(super) args: Vec<String>,
    /// What it reads from the socket first.
    pub(super) source: &'static str,
}

/// A cell that is to be run.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) code: String,
    /// Variables of the environment, for this cell only.
    pub(super) variables: BTreeMap<String, String>,
}

impl Language {
    /// Finds a language by a name that clients use; none is Python.
    ///
    /// # Errors
    ///
    /// The name, if no context can have it.
    pub(super) fn named(given: Option<&str>) -> Result<Self, String> {
        let name = given.unwrap_or_default().trim().to_lowercase();
        match name.as_str() {
            "" | "python" => Ok(Self::Python),
            "javascript" | "js" => Ok(Self::JavaScript),
            "typescript" | "ts" => Ok(Self::TypeScript),
            "bash" => Ok(Self::Bash),
            _ => Err(name),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Bash => "bash",
        }
    }

    /// The driver for a socket that it inherits as `descriptor`.
    pub(super) fn driver(self, descriptor: i32) -> Driver {
        let descriptor = descriptor.to_string();
        match self {
            Self::Python => {
                let args = ["-c", PYTHON_START, &descriptor, &PYTHON.len().to_string()].map(str::to_owned).to_vec();
                Driver { program: "python3", args, source: PYTHON }
            }
            Self::JavaScript | Self::TypeScript => {
                let length = JAVASCRIPT.len().to_string();
                let args = ["--no-warnings", "-e", JAVASCRIPT_START, &descriptor, &length, self.name()];
                Driver { program: "node", args: args.map(str::to_owned).to_vec(), source: JAVASCRIPT }
            }
            Self::Bash => {
                let args = ["--noprofile", "--norc", "-c", BASH_START, "bash", &descriptor].map(str::to_owned).to_vec();
                Driver { program: "bash", args, source: BASH }
            }
        }
    }

    /// Says why a cell cannot be run: what it or its variables contain.
    pub(super) fn refuse(self, cell: &Cell) -> Option<String> {
        let Cell { code, variables } = cell;
        if let Some(name) = variables.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Some(format!("env_vars: {name:?} cannot be a variable's name"));
        }
        if let Some((name, _)) = variables.iter().find(|(_, value)| value.contains('\0')) {
            return Some(format!("env_vars: the value of {name} must not contain the character 0"));
        }
        if self != Self::Bash {
            return None;
        }
        if code.contains('\0') {
            return Some("code in bash must not contain the character 0".to_owned());
        }
        let name = variables.keys().find(|name| !is_identifier(name))?;
        Some(format!("env_vars: {name:?} cannot be a variable of bash; it takes letters, digits and _"))
    }

    /// A cell as its driver reads it.
    pub(super) fn encode(self, cell: &Cell) -> Vec<u8> {
        let Cell { code, variables } = cell;
        if self == Self::Bash {
            let (before, after) = around(variables);
            return format!("{before}\0{code}\n\0{after}\0").into_bytes();
        }
        format!("{}\n", json!({ "code": code, "variables": variables })).into_bytes()
    }
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// What bash does before and after a cell so that variables hold for it only.
fn around(variables: &BTreeMap<String, String>) -> (String, String) {
    let (mut before, mut after) = (String::new(), String::new());
    for (name, value) in variables {
        let value = value.replace('\'', r"'\''");
        // Writing to a text does not fail.
        _ = writeln!(before, "__sandglass_{name}=$(declare -p {name} 2>/dev/null); export {name}='{value}'");
        _ = writeln!(after, "unset {name}; eval \"$__sandglass_{name}\"; unset __sandglass_{name}");
    }
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_have_the_names_that_clients_use() {
        for (given, language) in [
            (None, Language::Python),
            (Some(""), Language::Python),
            (Some(" Python "), Language::Python),
            (Some("js"), Language::JavaScript),
            (Some("TS"), Language::TypeScript),
            (Some("bash"), Language::Bash),
        ] {
            assert_eq!(Language::named(given), Ok(language), "{given:?}");
        }
        assert_eq!(Language::named(Some("R")), Err("r".to_owned()));
    }

    #[test]
    fn a_name_that_no_environment_can_have_is_refused() {
        let cell = |name: &str| Cell { code: String::new(), variables: [(name.to_owned(), "x".to_owned())].into() };
        for name in ["", "A=B", "A\0"] {
            assert!(Language::Python.refuse(&cell(name)).is_some(), "{name:?}");
        }
        assert_eq!(Language::Python.refuse(&cell("A.B")), None);
        for name in ["A.B", "1A", "A;reboot"] {
            assert!(Language::Bash.refuse(&cell(name)).is_some(), "{name:?}");
        }
        assert_eq!(Language::Bash.refuse(&cell("_a1")), None);
    }
}
