//! The server and its application.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, Error, HttpServer,
    body::{BoxBody, EitherBody},
    dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse},
    web,
};

use super::{
    gate::Gate,
    routes::{self, register},
};
use crate::supervisor::Supervisor;

/// How long a connection stays open for the next request. Clients that ping every minute keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The server, listening. It runs once it is polled, and stops when it is told to: signals are the application's.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(supervisor: Arc<Supervisor>, listener: TcpListener, workers: usize) -> io::Result<Server> {
    // actix counts whole seconds; a grace that is cut off half-way is no grace.
    let grace = supervisor.settings().http.stop_grace;
    let grace = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    let server = HttpServer::new(move || app(supervisor.clone()))
        .workers(workers.max(1))
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(grace)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
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
        .configure(register)
        .default_service(web::to(routes::unknown))
        .wrap(Gate::new(supervisor))
}
