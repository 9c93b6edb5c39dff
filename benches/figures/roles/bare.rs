//! The cost of HTTP itself: an actix-web handler that only sends the bytes of a ping's answer.

use std::{net::TcpListener, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, http::header, web};

use super::{questions, say};

/// The answer to a ping, as long as Sandglass' own.
const BODY: &str = r#"{"sandbox_id":"i0000000000000012345","status":"running","last_activity_at":1795451680.1184025,"idle_timeout":7200.0,"idle_deadline":1795458881.1184025,"idle_remaining":7200.999969,"expires_at":1795453480.1184025,"time_remaining":1744.123456,"terminates_at":1795458881.1184025,"active":true}"#;

async fn answer() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(BODY)
}

pub(super) async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let app = || App::new().route("/v1/sandboxes/{id}/activity", web::post().to(answer));
    let server = HttpServer::new(app).workers(workers).keep_alive(Duration::from_secs(75)).disable_signals();
    let server = server.listen(listener).expect("the listener can be used").run();
    tokio::spawn(server);
    say(&port);
    while questions().recv().await.is_some() {}
}
