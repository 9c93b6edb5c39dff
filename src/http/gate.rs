//! Middleware for all requests: access, the headers of answers, and a line of log. It is written by hand and allocates
//! nothing, since every ping passes through it.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::{
    Error, ResponseError,
    body::EitherBody,
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};

use futures_util::future::LocalBoxFuture;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    auth::Asked,
    e2b::{self, Door, Signers},
};
use crate::{config::Secret, domain::Moment, sandboxes::Sandboxes, work::Work};

/// The content policy of answers: nothing in them runs, and no site can frame them. Pages set their own.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The headers of every answer that does not set them itself.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF),
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, NO_STORE),
];

/// The middleware, from which each worker makes its own.
pub(super) struct Gate {
    sandboxes: Arc<Sandboxes>,
    work: Work,
}

impl Gate {
    pub(super) fn new(sandboxes: Arc<Sandboxes>, work: Work) -> Self {
        Self { sandboxes, work }
    }
}

impl<S, B> Transform<S, ServiceRequest> for Gate
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: Unpin,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type InitError = ();
    type Transform = Guarded<S>;
    type Future = Ready<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let http = &self.sandboxes.settings().http;
        let (key, door) = (http.api_key.clone(), Door::new(http.sandbox_domain.as_deref()));
        let (sandboxes, work, signers) = (self.sandboxes.clone(), self.work.clone(), Signers::new());
        ready(Ok(Guarded { service, sandboxes, work, signers, key, door }))
    }
}

/// The application behind the gate.
pub(super) struct Guarded<S> {
    service: S,
    sandboxes: Arc<Sandboxes>,
    work: Work,
    signers: Signers,
    key: Option<Secret>,
    door: Door,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: Unpin,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Passage<S::Future>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        // The clock is read only if the line is logged.
        let watch = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| Watch { began: self.sandboxes.now().moment, sandboxes: self.sandboxes.clone() });
        if let Some(place) = self.door.place(request.head()) {
            // It is not for Sandglass itself, and has rules of its own.
            let (sandboxes, work, signers) = (self.sandboxes.clone(), self.work.clone(), self.signers.clone());
            let step = Step::ToTheInside(e2b::serve(sandboxes, work, signers, place, request));
            return Passage { step, watch, _in_flight: self.sandboxes.in_flight().token() };
        }
        let asked = Asked { method: request.method(), path: request.path(), headers: request.headers() };
        let origins = &self.sandboxes.settings().http.allowed_origins;
        let step = match asked.must_be_allowed(self.key.as_ref(), origins) {
            Ok(()) => Step::Inside(self.service.call(request)),
            Err(refusal) => {
                let response = match e2b::is_e2b(request.path()) {
                    true => e2b::Refusal::from(refusal).error_response(),
                    false => refusal.error_response(),
                };
                Step::Refused(Some(request.into_response(response)))
            }
        };
        Passage { step, watch, _in_flight: self.sandboxes.in_flight().token() }
    }
}

/// A request that is being handled.
pub(super) struct Passage<F> {
    step: Step<F>,
    watch: Option<Watch>,
    _in_flight: TaskTrackerToken,
}

enum Step<F> {
    Inside(F),
    /// The inside of a sandbox answers, with headers of its own.
    ToTheInside(LocalBoxFuture<'static, ServiceResponse>),
    Refused(Option<ServiceResponse>),
}

struct Watch {
    began: Moment,
    sandboxes: Arc<Sandboxes>,
}

impl<F, B> Future for Passage<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>> + Unpin,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let passage = &mut *self;
        let mut response = match &mut passage.step {
            Step::Inside(inside) => match Pin::new(inside).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(outcome) => outcome?.map_into_left_body(),
            },
            Step::ToTheInside(inside) => match inside.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(response) => {
                    if let Some(watch) = &passage.watch {
                        watch.tell(&response);
                    }
                    return Poll::Ready(Ok(response.map_into_right_body()));
                }
            },
            Step::Refused(response) => match response.take() {
                Some(response) => response.map_into_right_body(),
                None => return Poll::Pending,
            },
        };
        add_headers(response.headers_mut());
        if let Some(watch) = &passage.watch {
            watch.tell(&response);
        }
        Poll::Ready(Ok(response))
    }
}

fn add_headers(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, NO_STORE);
    }
}

impl Watch {
    /// Only the path, because a query may contain secrets.
    fn tell<B>(&self, response: &ServiceResponse<B>) {
        let elapsed = self.sandboxes.now().moment.since(self.began);
        let (request, status) = (response.request(), response.status().as_u16());
        let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
        tracing::debug!(method = %request.method(), path = request.path(), status, elapsed_ms, "request");
    }
}
