//! The headers of the pages.

use actix_web::{
    http::{Method, header},
    test::TestRequest,
};

use super::client::start;

const PAGES: [(&str, &str); 6] = [
    ("/", "text/html; charset=utf-8"),
    ("/docs", "text/html; charset=utf-8"),
    ("/page/boot.js", "text/javascript; charset=utf-8"),
    ("/page/main.js", "text/javascript; charset=utf-8"),
    ("/page/page.css", "text/css; charset=utf-8"),
    ("/page/icon.svg", "image/svg+xml"),
];

#[actix_web::test]
async fn a_page_and_its_files_are_what_they_say_and_open_without_the_key() {
    let (_bench, client) = start(&[("http.api_key", "open-sesame")]).await;
    for (path, kind) in PAGES {
        let answer = client.get(path).await;
        assert_eq!(answer.must_succeed(200).header("content-type"), Some(kind), "{path}");
        assert!(!answer.text.is_empty() && !answer.text.contains("open-sesame"), "{path}");
        client.send(TestRequest::with_uri(path).method(Method::HEAD)).await.must_succeed(200);
    }
}

#[actix_web::test]
async fn a_page_runs_only_what_comes_from_here_and_is_framed_by_nobody() {
    let (_bench, client) = start(&[]).await;
    for (path, _) in PAGES {
        let answer = client.get(path).await;
        let policy = answer.header("content-security-policy").expect("a policy");
        let rules = ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"];
        let more =
            ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"];
        for rule in rules.into_iter().chain(more) {
            assert!(policy.split("; ").any(|part| part == rule), "{path}: {rule} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[actix_web::test]
async fn what_a_browser_has_already_is_not_sent_again() {
    let (_bench, client) = start(&[]).await;
    for (path, _) in PAGES {
        let first = client.get(path).await;
        assert_eq!(first.must_succeed(200).header("cache-control"), Some("no-cache"), "{path}");
        let tag = first.header("etag").expect("a tag").to_owned();
        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let again = client.with(Method::GET, path, header::IF_NONE_MATCH, &known).await;
            again.must_succeed(304);
            assert_eq!((again.text.as_str(), again.header("etag")), ("", Some(tag.as_str())), "{path}");
            assert!(
                again.header("content-security-policy").is_some_and(|policy| policy.contains("script-src")),
                "{path}"
            );
        }
        let changed = client.with(Method::GET, path, header::IF_NONE_MATCH, "\"other\"").await;
        assert_eq!(changed.must_succeed(200).text, first.text, "{path}");
    }
}

#[actix_web::test]
async fn a_file_that_is_not_there_is_not_found() {
    let (_bench, client) = start(&[]).await;
    for path in ["/page/nowhere.js", "/page/index.html", "/page/", "/page/..%2Fassets.rs"] {
        client.get(path).await.must_be(404, "not_found");
    }
}
