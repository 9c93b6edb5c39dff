//! Connections that change to another protocol, which is a websocket's: bytes are copied both ways until either side ends.

use std::io;

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::StatusCode,
    rt,
    web::{Bytes, BytesMut},
};
use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio_util::task::AbortOnDropHandle;

use super::answer::{Client, copy, stops};
use crate::{
    sandboxes::Sandboxes,
    work::{Duplex, Moves, Switched},
};

/// How much is read at a time.
const BUFFER: usize = 32 << 10;

type Inside = Box<dyn Duplex>;

/// Answers that the protocol changes, and copies.
pub(super) fn switched(sandboxes: &Sandboxes, client: Client, to: Switched, payload: Payload) -> HttpResponse {
    let Switched { headers, stream, moves } = to;
    let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
    copy(&headers, &mut response);
    let (from_inside, to_inside) = split(stream);
    let sending = AbortOnDropHandle::new(rt::spawn(send(payload, to_inside, moves.clone())));
    response.upgrade("websocket").streaming(received(sandboxes, client, from_inside, moves, sending))
}

async fn send(mut payload: Payload, mut inside: WriteHalf<Inside>, mut moves: Moves) {
    while let Some(Ok(bytes)) = payload.next().await {
        moves.moved().await;
        if inside.write_all(&bytes).await.is_err() || inside.flush().await.is_err() {
            return;
        }
    }
    // Nothing can be done about a side that is gone.
    _ = inside.shutdown().await;
}

fn received(
    sandboxes: &Sandboxes,
    client: Client,
    inside: ReadHalf<Inside>,
    moves: Moves,
    sending: AbortOnDropHandle<()>,
) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let stops = stops(sandboxes);
    let over = Box::pin(async move {
        tokio::select! {
            () = client.gone() => "the client is gone",
            () = stops => "Sandglass stops",
        }
    });
    let buffer = BytesMut::new();
    stream::unfold(Some((inside, buffer, over, moves, sending)), |state| async move {
        let (mut inside, mut buffer, mut over, mut moves, kept) = state?;
        buffer.reserve(BUFFER);
        let aborted = |why: &str| Some((Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)), None));
        tokio::select! {
            biased;
            why = &mut over => aborted(why),
            read = inside.read_buf(&mut buffer) => match read {
                Ok(0) => None,
                Ok(_) => {
                    moves.moved().await;
                    let bytes = buffer.split().freeze();
                    Some((Ok(bytes), Some((inside, buffer, over, moves, kept))))
                }
                Err(error) => Some((Err(error), None)),
            },
        }
    })
}
