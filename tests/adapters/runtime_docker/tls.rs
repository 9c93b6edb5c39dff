//! An engine that is reached over TLS and asks its clients for a certificate.

use std::path::Path;

use sandglass::{
    ports::runtime::{Runtime, RuntimeError},
    runtime::docker::{Docker, Settings},
};

use super::run;
use crate::{
    support::docker::{Corner, by_labels, socket, start},
    tls::TlsFront,
};

fn over(corner: &Corner, host: String, certificates: &Path) -> Docker {
    let settings = Settings { host: Some(host), tls: true, cert_path: certificates.to_owned(), ..corner.settings() };
    Docker::connect(settings).unwrap()
}

#[tokio::test]
async fn an_engine_behind_tls_is_used_like_any_other() {
    let (corner, front, start) = (Corner::new().await, TlsFront::new(&socket()).await, start());
    let certificates = front.client();
    for scheme in ["tcp", "https"] {
        let runtime = over(&corner, format!("{scheme}://{}", front.address()), certificates.path());
        run(&runtime, &start).await.unwrap();
        runtime.remove(&by_labels(&start)).await.unwrap();
    }
    assert_eq!(corner.containers().await, [""; 0]);
}

#[tokio::test]
async fn an_engine_or_a_client_of_another_authority_is_refused() {
    let (corner, front, other) = (Corner::new().await, TlsFront::new(&socket()).await, TlsFront::new(&socket()).await);
    let host = format!("tcp://{}", front.address());
    let refusal = async |certificates: &Path| match over(&corner, host.clone(), certificates).check().await {
        Err(RuntimeError::Unreachable(message)) => message,
        answer => panic!("{answer:?}"),
    };
    let strange_engine = refusal(other.client().path()).await;
    assert!(strange_engine.contains("invalid peer certificate"), "{strange_engine}");
    let no_certificate = refusal(front.only_the_authority().path()).await;
    assert!(no_certificate.to_lowercase().contains("certificate"), "{no_certificate}");
}
