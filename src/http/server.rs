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
    e2b,
    gate::Gate,
    openapi::Document,
    routes::{self, register},
};
use crate::{sandboxes::Sandboxes, work::Work};

/// How long an idle connection stays open. Clients that ping every minute keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The smallest useful number of connections per worker, since connections make room for each other only within a worker.
const LEAST_PER_WORKER: usize = 8;

/// Makes the server, which runs when it is polled and stops when it is told to; it handles no signals. At most
/// `connections` are open at the same time, and at least two. More wait in the system's queue. If they are too few for that
/// many workers, there are fewer workers.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(
    sandboxes: Arc<Sandboxes>,
    work: Work,
    listener: TcpListener,
    workers: usize,
    connections: usize,
) -> io::Result<Server> {
    // actix counts whole seconds, so round up.
    let grace = sandboxes.settings().http.stop_grace;
    let grace = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    let (workers, most) = shared_out(connections, workers);
    let builder =
        Server::build().workers(workers).max_concurrent_connections(most).shutdown_timeout(grace).disable_signals();
    let (address, stopping) = (listener.local_addr()?, builder.graceful_shutdown_signal());
    // Like actix-web's own server, with our connections in between. Each worker makes one of these.
    let service = move || {
        let (open, stopping) = (Open::new(most), stopping.clone());
        let app = app(sandboxes.clone(), work.clone()).into_factory().map_err(|error| error.error_response());
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
            // The small parts of a stream would wait for the client to acknowledge the ones before, up to 40 ms.
            let _ = stream.set_nodelay(true);
            std::future::ready(Ok((Connection::new(stream, open.clone()), Protocol::Http1, peer)))
        })
        .and_then(http)
    };
    Ok(builder.listen("http", listener, service)?.run())
}

/// The number of workers, and of connections for each.
fn shared_out(connections: usize, workers: usize) -> (usize, usize) {
    let workers = workers.min(connections / LEAST_PER_WORKER).max(1);
    (workers, (connections / workers).max(2))
}

/// The application: all routes behind the gate.
pub fn app(
    sandboxes: Arc<Sandboxes>,
    work: Work,
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
        .app_data(web::Data::from(sandboxes.clone()))
        .app_data(web::Data::new(work.clone()))
        .app_data(web::Data::new(Document::default()))
        .configure(register)
        .configure(e2b::register)
        .default_service(web::to(routes::unknown))
        .wrap(Gate::new(sandboxes, work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_connections_enough_to_make_room() {
        assert_eq!(shared_out(51_200, 2), (2, 25_600));
        assert_eq!(shared_out(160, 128), (20, 8));
        assert_eq!(shared_out(9, 0), (1, 9));
        assert_eq!(shared_out(0, 64), (1, 2));
    }
}
