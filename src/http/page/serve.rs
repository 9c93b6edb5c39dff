//! The handlers of the pages and their files.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ETag, EntityTag, Header, HeaderName, HeaderValue, IfNoneMatch},
    web::Path,
};

use super::{
    super::error::{ApiError, Code, ErrorAnswer},
    assets::{Asset, DASHBOARD, DOCS, named},
};

/// The content policy of pages: everything is loaded from this server, no inline script runs, no text becomes markup, and
/// no other site can frame them.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);
/// Browsers revalidate each time, and get the file only if it has changed.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The dashboard.
#[utoipa::path(get, path = "/", operation_id = "dashboard", tag = "pages", security(()),
    responses(
        (status = 200, description = "A page for people", content_type = "text/html", body = String),
        (status = 304, description = "It is as `If-None-Match` knows it"),
    ))]
pub(in crate::http) async fn dashboard(request: HttpRequest) -> HttpResponse {
    serve(&request, &DASHBOARD)
}

/// The specification as a page.
#[utoipa::path(get, path = "/docs", operation_id = "docs", tag = "pages", security(()),
    responses(
        (status = 200, description = "A page for people", content_type = "text/html", body = String),
        (status = 304, description = "It is as `If-None-Match` knows it"),
    ))]
pub(in crate::http) async fn docs(request: HttpRequest) -> HttpResponse {
    serve(&request, &DOCS)
}

/// A file of the pages.
#[utoipa::path(get, path = "/page/{name}", operation_id = "page_asset", tag = "pages", security(()),
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "A script, a style or a picture", content(
            (String = "text/javascript"), (String = "text/css"), (String = "image/svg+xml"),
        )),
        (status = 304, description = "It is as `If-None-Match` knows it"),
        (status = 404, description = "`not_found`", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn asset(request: HttpRequest, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let missing =
        || ApiError::new(Code::NotFound, format!("there is nothing at {}; see /openapi.json", request.path()));
    named(&name).map(|asset| serve(&request, asset)).ok_or_else(missing)
}

fn serve(request: &HttpRequest, asset: &'static Asset) -> HttpResponse {
    let tag = EntityTag::new_strong(asset.tag());
    let mut response = if is_known(request, &tag) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, REVALIDATE))
        .insert_header((header::REFERRER_POLICY, NO_REFERRER))
        .insert_header((OPENER_POLICY, SAME_ORIGIN));
    if is_known(request, &tag) {
        return response.insert_header(ETag(tag)).finish();
    }
    response
        .insert_header(ETag(tag))
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)))
        .body(asset.text)
}

/// Whether the client has this version (RFC 9110, 13.1.2).
fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Ok(IfNoneMatch::Any) => true,
        Err(_) => false,
    }
}
