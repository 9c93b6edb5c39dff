//! Finds the sandbox that a request is for, and passes the request on.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    dev::{Payload, RequestHead, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};
use futures_util::future::LocalBoxFuture;

use super::{
    allowed,
    answer::{Client, passed_on},
    refusal::Refused,
    request,
    signature::Signed,
    signers::Signers,
    websocket::switched,
};
use crate::{
    domain::{Sandbox, SandboxId},
    http::{
        auth::Asked,
        body::discard,
        connection::occupy,
        e2b::door::{AGENT, Named, Place, same_host},
        error::ApiError,
        upload::Upload,
    },
    sandboxes::Sandboxes,
    work::{Forward, Forwarded, Target, Work},
};

/// The port of the code interpreter: the image's own one, or the agent's.
const INTERPRETER: u16 = 49999;
/// A path of E2B's agent that is for its control plane, which is Sandglass itself.
const INTERNAL: &str = "/init";

/// Passes a request on to where it wants to go.
pub(in crate::http) fn serve(
    sandboxes: Arc<Sandboxes>,
    work: Work,
    signers: Signers,
    place: Place,
    request: ServiceRequest,
) -> LocalBoxFuture<'static, ServiceResponse> {
    let (request, payload) = request.into_parts();
    let is_signed = matches!(place, Place::Signed);
    let named = match &place {
        Place::Port(named) => Some(named.sandbox.clone()),
        _ => None,
    };
    Box::pin(async move {
        let client = Client::of(&request);
        let occupied = match client.occupy() {
            Ok(occupied) => occupied,
            Err(full) => {
                discard(payload).await;
                let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, full.to_string());
                let response = named.iter().fold(refused, |refused, named| refused.of(named)).response();
                return ServiceResponse::new(request, response);
            }
        };
        let answered = tokio::select! {
            biased;
            answered = answer(&sandboxes, &work, &signers, place, &request, payload, &client) => answered,
            // Nobody reads this.
            () = client.gone() => Err(Refused::new(StatusCode::BAD_REQUEST, "the client is gone")),
        };
        let response = answered.unwrap_or_else(|refused| refused.response());
        let mut response = response.map_body(|_, body| occupy(body, occupied));
        if is_signed {
            // A browser can open such a URL, and would take the answer for a page of Sandglass itself.
            confine(response.headers_mut());
        }
        ServiceResponse::new(request, response)
    })
}

/// Lets nothing in an answer run in a browser. What a sandbox answers is written by strangers.
fn confine(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

async fn answer(
    sandboxes: &Arc<Sandboxes>,
    work: &Work,
    signers: &Signers,
    place: Place,
    request: &HttpRequest,
    payload: Payload,
    client: &Client,
) -> Result<HttpResponse, Refused> {
    let head = request.head();
    let (sandbox, target, by_signature) = match admitted(sandboxes, signers, place, head).await {
        Ok(admitted) => admitted,
        Err(refused) => {
            discard(payload).await;
            return Err(refused);
        }
    };
    let id = sandbox.id();
    let told = |refused: Refused| refused.of(id.as_str());
    let method = hyper::Method::from_bytes(head.method.as_str().as_bytes());
    let method = method.map_err(|_| told(Refused::new(StatusCode::BAD_REQUEST, "the method is no token")))?;
    let mut headers = request::headers(&head.headers, sandboxes.settings().http.api_key.as_ref());
    if by_signature {
        // A signature names its user, or the sandbox's own, and its holder cannot be another one.
        headers.remove(hyper::header::AUTHORIZATION);
    }
    match target {
        Target::Agent => drop(headers.remove(hyper::header::HOST)),
        Target::Port(port) | Target::InterpreterOr(port) => {
            request::mask_host(&mut headers, sandbox.details.mask_request_host.as_deref(), port);
        }
    }
    let upgrades = head.upgrade() && is_websocket(head);
    let (upload, body, rest) = match payload {
        Payload::None => (None, None, Payload::None),
        raw if upgrades => (None, None, raw),
        payload => {
            let (upload, parts) = Upload::begin(payload);
            (Some(upload), Some(parts), Payload::None)
        }
    };
    let forward = Forward { target, method, path: request::path(head), headers, body };
    match work.forward(id, forward).await {
        Ok(Forwarded::Upgraded(to)) => Ok(switched(sandboxes, client.clone(), to, rest)),
        Ok(Forwarded::Answer(answer)) => {
            let mut response = passed_on(request, sandboxes, client.clone(), answer, upload);
            if upgrades {
                // What follows on the connection is no request.
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            Ok(response)
        }
        Err(error) => {
            if let Some(upload) = upload {
                upload.linger().await;
            }
            Err(told((&error).into()))
        }
    }
}

/// Finds the sandbox, and checks whether the client may go there; the last part tells whether a signature let it in.
async fn admitted(
    sandboxes: &Arc<Sandboxes>,
    signers: &Signers,
    place: Place,
    head: &RequestHead,
) -> Result<(Sandbox, Target, bool), Refused> {
    let by_host = matches!(place, Place::Port(Named { by_host: true, .. }));
    let asked = Asked { method: &head.method, path: head.uri.path(), headers: &head.headers };
    let http = &sandboxes.settings().http;
    let foreign = |error: ApiError| Refused::new(error.code().status(), error.to_string());
    if !by_host && http.api_key.is_none() && !is_front(http.sandbox_domain.as_deref(), &head.headers) {
        asked.must_be_addressed_to_us(&http.allowed_origins).map_err(foreign)?;
    }
    let signed = Signed::of(head);
    let (sandbox, port) = find(sandboxes, signers, place, signed.as_ref()).await?;
    let told = |refused: Refused| refused.of(sandbox.id().as_str());
    if head.method == Method::CONNECT {
        return Err(told(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "CONNECT leads nowhere here")));
    }
    let target = match port {
        AGENT if head.uri.path() == INTERNAL => {
            return Err(told(Refused::new(StatusCode::NOT_FOUND, "404 page not found")));
        }
        AGENT => Target::Agent,
        INTERPRETER => Target::InterpreterOr(port),
        port => Target::Port(port),
    };
    if target == Target::Agent {
        let now = sandboxes.now().wall();
        allowed::at_agent(sandboxes, &sandbox, &head.headers, signed.as_ref(), now)?;
    } else {
        allowed::at_port(sandboxes, &sandbox, &head.headers).map_err(told)?;
    }
    // Browsers send requests for any site to a host. What a program at a port makes of that is its own affair.
    if by_host && !matches!(target, Target::Port(_)) {
        asked.must_not_be_cross_origin(&http.allowed_origins).map_err(|error| told(foreign(error)))?;
    }
    let by_signature = signed.is_some() && !head.headers.contains_key(allowed::TOKEN);
    Ok((sandbox, target, by_signature))
}

/// Whether a request was sent to `sandbox.DOMAIN`, where SDKs send those with headers.
fn is_front(domain: Option<&str>, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let below = |host: &str| host.strip_prefix("sandbox.").map(str::to_ascii_lowercase);
    domain.is_some_and(|domain| host.and_then(below).is_some_and(|host| same_host(&host, domain)))
}

fn is_websocket(head: &RequestHead) -> bool {
    head.headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The sandbox and the port that a request is for.
async fn find(
    sandboxes: &Arc<Sandboxes>,
    signers: &Signers,
    place: Place,
    signed: Option<&Signed>,
) -> Result<(Sandbox, u16), Refused> {
    match place {
        Place::Nowhere(why) => Err(Refused::new(StatusCode::BAD_REQUEST, why)),
        Place::Port(Named { sandbox, port, .. }) => {
            let not_found = || Refused::not_found().of(&sandbox);
            let id = SandboxId::parse(&sandbox).map_err(|_| not_found())?;
            match sandboxes.get(&id).await {
                Ok(found) if found.is_gone() => Err(not_found()),
                Ok(found) => Ok((found, port)),
                Err(error) => Err(Refused::from(&error).of(&sandbox)),
            }
        }
        Place::Signed => {
            let signer = match signed {
                Some(signed) => signers.find(signed.clone(), sandboxes).await.map_err(|_busy| {
                    let message = "too many signed URLs wait for the sandbox that has signed them to be found: try again, or \
                                   name it by the headers E2b-Sandbox-Id and E2b-Sandbox-Port, or by the host";
                    Refused::new(StatusCode::TOO_MANY_REQUESTS, message)
                })?,
                None => None,
            };
            let unknown = || Refused::new(StatusCode::UNAUTHORIZED, "no living sandbox has signed this URL");
            Ok((signer.ok_or_else(unknown)?, AGENT))
        }
    }
}
