//! `CONNECT localhost:PORT`: a connection to a port inside the container.

use std::{io, net::Ipv4Addr, net::Ipv6Addr, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{error::Elapsed, timeout},
};

use crate::body::{self, Request, Response};

/// How long a port may take to accept. The kernel accepts by itself, unless the program behind it is overrun.
const ACCEPT: Duration = Duration::from_secs(10);

/// Connects the request's stream with a port on the container's loopback. A side that hangs up ends both.
pub(crate) async fn open(mut request: Request) -> Response {
    let Some(authority) = request.uri().authority().cloned() else {
        return body::error(400, "CONNECT needs localhost:PORT");
    };
    let (Some(port @ 1..), "localhost" | "127.0.0.1" | "[::1]") = (authority.port_u16(), authority.host()) else {
        return body::error(
            400,
            &format!("CONNECT leads to ports of the container only: localhost:PORT, not {authority}"),
        );
    };
    let mut tcp = match connect(port).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return body::error(502, &format!("port {port} is not open: {error}")),
        Err(_) => return body::error(502, &format!("port {port} does not accept within {} s", ACCEPT.as_secs())),
    };
    // Small writes are not held back.
    _ = tcp.set_nodelay(true);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(stream) = upgraded.await else { return };
        // An error means that one side has broken off; dropping the other tells it.
        _ = tokio::io::copy_bidirectional(&mut TokioIo::new(stream), &mut tcp).await;
    });
    body::answer(200, body::empty())
}

async fn connect(port: u16) -> Result<io::Result<TcpStream>, Elapsed> {
    timeout(ACCEPT, async {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) => TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.map_err(|_| error),
            connected => connected,
        }
    })
    .await
}
