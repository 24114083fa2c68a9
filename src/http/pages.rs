//! The pages behind every problem's `type`, made from the table of codes: what it means, why, what to do.

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use rustc_hash::FxHashMap;

use super::reply::{ReplyBody, full};
use crate::model::{EntryCode, ProblemCode};

/// What is served to anybody: the pages, and the OpenAPI and AsyncAPI documents.
#[derive(Debug)]
pub(super) struct Pages {
    by_path: FxHashMap<String, (&'static str, Bytes)>,
}

const HTML: &str = "text/html; charset=utf-8";

impl Pages {
    pub(super) fn new(openapi: Bytes, asyncapi: Bytes) -> Self {
        let mut by_path = FxHashMap::default();
        by_path.insert("/openapi.json".to_owned(), ("application/json", openapi));
        if !asyncapi.is_empty() {
            by_path.insert("/asyncapi.json".to_owned(), ("application/json", asyncapi));
        }
        by_path.insert("/problems".to_owned(), (HTML, index().into()));
        for problem in ProblemCode::ALL {
            by_path.insert(format!("/problems/{}", problem.code()), (HTML, problem_page(*problem).into()));
        }
        for code in EntryCode::ALL {
            by_path.insert(format!("/problems/{}", code.as_str()), (HTML, entry_page(code).into()));
        }
        Self { by_path }
    }

    /// Whether `path` is one of them.
    pub(super) fn has(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// The page at `path`.
    pub(super) fn get(&self, path: &str) -> Option<Response<ReplyBody>> {
        let (content_type, body) = self.by_path.get(path)?;
        let mut response = Response::new(full(body.clone()));
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, *content_type),
            (CACHE_CONTROL, "public, max-age=3600"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }
}

fn problem_page(problem: ProblemCode) -> String {
    let heading = format!("{} {}", problem.status(), problem.title());
    page(problem.code(), &heading, problem.cause(), problem.remedy(), retry(problem.is_retryable()), "a whole request")
}

fn entry_page(code: EntryCode) -> String {
    let name = code.as_str();
    page(name, name, code.cause(), code.remedy(), retry(code.is_retryable()), "one entry of a batch")
}

const fn retry(is_retryable: bool) -> &'static str {
    if is_retryable {
        "Yes: the same again can succeed later. Wait for Retry-After where it is given, and add jitter."
    } else {
        "No: the same again will be refused again."
    }
}

fn page(code: &str, heading: &str, cause: &str, remedy: &str, retry: &str, of: &str) -> String {
    let [heading, cause, remedy, retry] = [heading, cause, remedy, retry].map(escape);
    document(
        &heading,
        &format!(
            "<h1>{heading}</h1>\n<p>Code <code>{code}</code>, for {of}.</p>\n\
             <h2>Meaning and cause</h2>\n<p>{cause}</p>\n<h2>Remedy</h2>\n<p>{remedy}</p>\n\
             <h2>Try again?</h2>\n<p>{retry}</p>\n<p><a href=\"/problems\">All codes</a></p>"
        ),
    )
}

fn index() -> String {
    let row = |code: &str, status: &str, title: &str| {
        format!(
            "<tr><td>{status}</td><td><a href=\"/problems/{code}\"><code>{code}</code></a></td><td>{title}</td></tr>\n"
        )
    };
    let problems: String = ProblemCode::ALL
        .iter()
        .map(|problem| row(problem.code(), &problem.status().to_string(), &escape(problem.title())))
        .collect();
    let entries: String =
        EntryCode::ALL.iter().map(|code| row(code.as_str(), "entry", &escape(code.cause()))).collect();
    document(
        "Error codes",
        &format!(
            "<h1>Error codes</h1>\n<h2>Of whole requests</h2>\n<table>\n{problems}</table>\n\
             <h2>Of single entries of a batch</h2>\n<table>\n{entries}</table>"
        ),
    )
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title} · sensorgate</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}}\
         td{{padding:.15rem .6rem .15rem 0;vertical-align:top}}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page_and_no_two_share_one() {
        let pages = Pages::new(Bytes::new(), Bytes::new());
        assert_eq!(pages.by_path.len(), 2 + ProblemCode::ALL.len() + EntryCode::ALL.len());
        let page = String::from_utf8(pages.by_path["/problems/missing_credential"].1.to_vec()).unwrap();
        assert!(page.contains("Bearer &lt;jwt&gt;") && !page.contains("<jwt>"), "{page}");
        let index = String::from_utf8(pages.by_path["/problems"].1.to_vec()).unwrap();
        for problem in ProblemCode::ALL {
            assert!(index.contains(problem.code()));
            assert!(pages.has(&format!("/problems/{}", problem.code())));
        }
    }
}
