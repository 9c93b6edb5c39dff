//! A registry for one test that asks for a login, on a free port of the loopback address, in a temporary directory. It is
//! removed with the test, and so are the images that the test pulled from it.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use bollard::{
    auth::DockerCredentials,
    models::{ContainerConfig, ContainerCreateBody},
    query_parameters::{
        CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, PushImageOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, WaitContainerOptions,
    },
};
use futures_util::TryStreamExt;
use sandglass::domain::SandboxId;
use tempfile::TempDir;

const HOW_TO_GET_IT: &str = "this test needs the program docker-registry: `config/setup.sh registry` installs it";

/// The user of the tests. In base64, the password has characters in which the two alphabets differ.
pub const USER: &str = "robot";
pub const PASSWORD: &str = "p?>~p?>~p?>~";
/// The user that pushes images.
const WRITER: (&str, &str) = ("writer", "plain");
/// Both users, with the bcrypt hashes of their passwords.
const USERS: &str = "robot:$2y$05$J3SnwVBe1pz.XDCoavmoUu9Fc.OUcWPNe1c.7ur1gGnUD.q/lYrbS
writer:$2y$05$7/QdUTXaarR5vkNHYHoujOckInkYzuPS58axc7okDXheRujtSqK8y
";

/// How often, and with which pause, a condition is checked before the test fails: 20 seconds.
const ATTEMPTS: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(20);

/// A running registry.
pub struct Registry {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
    images: Vec<String>,
}

impl Registry {
    /// Starts a registry.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("users"), USERS).expect("a file of users");
        let mut registry = Self { directory, port: 0, process: None, images: Vec::new() };
        // Another process may take the port before the registry does.
        for _ in 0..10 {
            let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
            registry.port = probe.local_addr().expect("its number").port();
            drop(probe);
            if registry.try_start() {
                return registry;
            }
        }
        panic!("docker-registry did not start on any of ten ports");
    }

    /// Its name in references of images.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn try_start(&mut self) -> bool {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let (users, data, name) = (path("users"), path("data"), self.name());
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data:?}}}}}\n\
             http: {{addr: {name:?}}}\nauth: {{htpasswd: {{realm: test, path: {users:?}}}}}\n"
        );
        std::fs::write(path("config.yml"), config).expect("its configuration");
        let mut command = Command::new("docker-registry");
        command.args(["serve", &path("config.yml")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = self.process.insert(command.spawn().expect(HOW_TO_GET_IT));
        for _ in 0..ATTEMPTS {
            if process.try_wait().expect("its state").is_some() {
                return false;
            }
            if TcpStream::connect(&name).is_ok() {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }

    /// Pushes a new image, made from `base` and unique `bytes`, and removes it from the engine.
    pub async fn put(&mut self, client: &bollard::Docker, base: &str, bytes: usize) -> String {
        let (repository, tag) = (format!("{}/team/{}", self.name(), SandboxId::generate()), "1");
        let image = format!("{repository}:{tag}");
        self.images.push(image.clone());
        let body = ContainerCreateBody {
            image: Some(base.to_owned()),
            cmd: Some(["sh", "-c", &format!("head -c {bytes} /dev/urandom > /blob")].map(str::to_owned).to_vec()),
            ..Default::default()
        };
        let name = format!("registry-{}", SandboxId::generate());
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let id = client.create_container(Some(options), body).await.expect("a container").id;
        let committed = async {
            client.start_container(&id, None).await?;
            client.wait_container(&id, None::<WaitContainerOptions>).try_collect::<Vec<_>>().await?;
            let options = CommitContainerOptionsBuilder::default().container(&id).repo(&repository).tag(tag).build();
            let command = Some(["sleep", "infinity"].map(str::to_owned).to_vec());
            client.commit_container(options, ContainerConfig { cmd: command, ..Default::default() }).await
        };
        let committed = committed.await;
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        client.remove_container(&id, Some(options)).await.expect("it is removed");
        committed.expect("an image of it");
        let login = DockerCredentials {
            username: Some(WRITER.0.to_owned()),
            password: Some(WRITER.1.to_owned()),
            serveraddress: Some(self.name()),
            ..Default::default()
        };
        let options = PushImageOptionsBuilder::default().tag(tag).build();
        let pushed = client.push_image(&repository, Some(options), Some(login)).try_collect::<Vec<_>>().await;
        pushed.expect("it is pushed");
        remove_image(client, &image).await.expect("it is removed here");
        image
    }
}

async fn remove_image(client: &bollard::Docker, image: &str) -> Result<(), bollard::errors::Error> {
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    client.remove_image(image, Some(options), None).await.map(|_| ())
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let images = std::mem::take(&mut self.images);
        // Use a new thread and reactor, since the test's reactor may be ending in a panic.
        let cleaner = thread::spawn(move || {
            let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a reactor");
            reactor.block_on(async {
                let client = bollard::Docker::connect_with_defaults().expect("the engine that was there before");
                for image in images {
                    // The engine has the image only if the test pulled it.
                    let _ = remove_image(&client, &image).await;
                }
            });
        });
        let _ = cleaner.join();
    }
}
