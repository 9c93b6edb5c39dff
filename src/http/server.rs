//! The server and its application.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_http::{HttpService, Protocol};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error,
    body::{BoxBody, EitherBody},
    dev::{AppConfig, ServiceRequest, ServiceResponse},
    rt::net::TcpStream,
    web,
};

use super::{
    connection::{Connection, Open},
    gate::Gate,
    openapi::Document,
    routes::{self, register},
};
use crate::supervisor::Supervisor;

/// How long a connection stays open for the next request. Clients that ping every minute keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The server, listening. It runs once it is polled, and stops when it is told to: signals are the application's. At most
/// `connections` are open at the same time, or one per worker; more wait until the system is asked for them.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(
    supervisor: Arc<Supervisor>,
    listener: TcpListener,
    workers: usize,
    connections: usize,
) -> io::Result<Server> {
    // actix counts whole seconds; a grace that is cut off half-way is no grace.
    let grace = supervisor.settings().http.stop_grace;
    let grace = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    let workers = workers.max(1);
    let most = (connections / workers).max(1);
    let builder =
        Server::build().workers(workers).max_concurrent_connections(most).shutdown_timeout(grace).disable_signals();
    let (address, stopping) = (listener.local_addr()?, builder.graceful_shutdown_signal());
    // What actix-web's own server does, with connections of ours in between: each worker makes one of these.
    let service = move || {
        let (open, stopping) = (Open::new(most), stopping.clone());
        let app = app(supervisor.clone()).into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .local_addr(address)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.link());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            std::future::ready(Ok((open.admit(stream), Protocol::Http1, peer)))
        })
        .and_then(http)
    };
    Ok(builder.listen("http", listener, service)?.run())
}

/// The application: every route behind the gate.
pub fn app(
    supervisor: Arc<Supervisor>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<EitherBody<BoxBody>>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(web::Data::from(supervisor.clone()))
        .app_data(web::Data::new(Document::default()))
        .configure(register)
        .default_service(web::to(routes::unknown))
        .wrap(Gate::new(supervisor))
}
