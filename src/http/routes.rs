//! The routes. The ping comes first, since it is the most frequent request.

use actix_web::{
    HttpRequest, HttpResponse, Resource, ResponseError, guard,
    http::{Method, header},
    middleware::from_fn,
    web::{self, ServiceConfig},
};

use super::{
    activity,
    connection::occupying,
    create, e2b, egress,
    error::{ApiError, Code},
    health, holds, openapi, page, sandboxes, stream, why,
    work::{commands, files, logs, stats},
};

/// Registers the routes, and lists them for a comparison with the specification.
macro_rules! routes {
    (
        $($path:literal { $($method:ident $handler:path),+ })+
        inside: $($inside:literal { $($verb:ident $worker:path),+ })+
    ) => {
        /// Every path with its methods.
        pub const ROUTES: &[(&str, &[&str])] = &[
            $(($path, &[$(stringify!($method)),+]),)+
            $(($inside, &[$(stringify!($verb)),+]),)+
        ];

        /// Registers the handlers of all paths.
        pub(super) fn register(config: &mut ServiceConfig) {
            $(config.service(
                resource($path, &[$(stringify!($method)),+])$(.route(route(Method::$method).to($handler)))+,
            );)+
            $(config.service(
                resource($inside, &[$(stringify!($verb)),+])
                    $(.route(route(Method::$verb).to($worker)))+
                    .wrap(from_fn(occupying)),
            );)+
        }
    };
}

routes! {
    "/v1/sandboxes/{id}/activity" { POST activity::ping }
    "/v1/activity" { POST activity::ping_many }
    "/v1/sandboxes" { GET sandboxes::list, POST create::create }
    "/v1/sandboxes/{id}" { GET sandboxes::get, DELETE sandboxes::delete }
    "/v1/sandboxes/{id}/keep-alive" { POST sandboxes::keep_alive }
    "/v1/sandboxes/{id}/holds/{hold}" { PUT holds::hold, DELETE holds::release }
    "/v1/sandboxes/{id}/egress" { PUT egress::set }
    "/v1/sandboxes/{id}/heartbeat" { POST sandboxes::heartbeat }
    "/v1/sandboxes/{id}/pause" { POST sandboxes::pause }
    "/v1/sandboxes/{id}/resume" { POST sandboxes::resume }
    "/v1/sandboxes/{id}/why" { GET why::why }
    "/v1/stream" { GET stream::stream }
    "/v1/events" { GET stream::events }
    "/healthz" { GET health::healthz }
    "/readyz" { GET health::readyz }
    "/metrics" { GET health::metrics }
    "/openapi.json" { GET openapi::specification }
    "/" { GET page::dashboard }
    "/docs" { GET page::docs }
    "/page/{name}" { GET page::asset }
    // These last as long as what they ask for inside a sandbox.
    inside:
    "/v1/sandboxes/{id}/commands" { GET commands::list, POST commands::run }
    "/v1/sandboxes/{id}/commands/{command}" { GET commands::get }
    "/v1/sandboxes/{id}/commands/{command}/input" { POST commands::input }
    "/v1/sandboxes/{id}/commands/{command}/signal" { POST commands::signal }
    "/v1/sandboxes/{id}/commands/{command}/resize" { POST commands::resize }
    "/v1/sandboxes/{id}/files" { GET files::read, PUT files::write, DELETE files::remove }
    "/v1/sandboxes/{id}/files/move" { POST files::rename }
    "/v1/sandboxes/{id}/files/watch" { GET files::watch }
    "/v1/sandboxes/{id}/logs" { GET logs::logs }
    "/v1/sandboxes/{id}/stats" { GET stats::stats }
}

/// A handler of GET also handles HEAD (RFC 9110, 9.1); the server leaves the body out.
fn route(method: Method) -> actix_web::Route {
    let heads = method == Method::GET;
    web::route().guard(guard::fn_guard(move |context| {
        let asked = &context.head().method;
        *asked == method || (heads && *asked == Method::HEAD)
    }))
}

/// A path, which answers other methods with a list of its own.
fn resource(path: &str, methods: &'static [&'static str]) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| {
        let mut allowed = methods.join(", ");
        if methods.contains(&"GET") {
            allowed.push_str(", HEAD");
        }
        let message = format!("{} is not possible here, only {allowed}", request.method());
        let refusal: HttpResponse =
            ApiError::new(Code::MethodNotAllowed, message).respond_with(header::ALLOW, &allowed);
        std::future::ready(refusal)
    }))
}

/// All other paths.
pub(super) async fn unknown(request: HttpRequest) -> HttpResponse {
    if e2b::is_e2b(request.path()) {
        return e2b::unknown(&request);
    }
    let message = format!("there is nothing at {}; see /openapi.json", request.path());
    ApiError::new(Code::NotFound, message).error_response()
}
