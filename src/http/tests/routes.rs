//! Routes besides batches, and in which order things are judged.

use std::net::SocketAddr;

use axum::{
    Extension, Router,
    extract::ConnectInfo,
    response::IntoResponse,
    routing::{get, post},
};

use super::{
    super::surface::{OpenRoutes, Resource},
    *,
};

fn surface() -> Surface {
    let token =
        |ConnectInfo(addr): ConnectInfo<SocketAddr>, body: String| async move { format!("{} {body}", addr.ip()) };
    let open = Router::new().route("/oauth/token", post(token));
    let list = |Extension(principal): Extension<Arc<Principal>>, Extension(id): Extension<RequestId>| async move {
        format!("{} {id}", principal.facts.id)
    };
    let create = |body: String| async move { body };
    let missing = || async { (Extension(ProblemCode::Conflict), "ignored").into_response() };
    // The integration is suspended while the call is under way.
    let suspended = |Extension(principal): Extension<Arc<Principal>>| async move {
        let facts = IntegrationFacts { status: crate::model::Status::Suspended, ..(*principal.facts).clone() };
        principal.integration.replace_facts(facts);
        "done"
    };
    let resource = Router::new()
        .route("/v1/equipment", get(list).post(create))
        .route("/v1/equipment/taken", get(missing))
        .route("/v1/equipment/slow", get(suspended).post(suspended))
        .route("/v1/equipment/fall", get(|| async { panic!("a resource fell over") as &str }));
    Surface {
        openapi: bytes::Bytes::from_static(b"{\"openapi\":\"3.1.0\"}"),
        asyncapi: bytes::Bytes::from_static(b"{\"asyncapi\":\"3.0.0\"}"),
        open: vec![OpenRoutes { name: "token", prefix: "/oauth/", router: open }],
        resources: vec![Resource {
            name: "equipment",
            path: "/v1/equipment",
            read: Some(Scope::EquipmentRead),
            write: Some(Scope::EquipmentWrite),
            router: resource,
        }],
    }
}

async fn code(response: reqwest::Response) -> String {
    json(response).await["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn pages_and_documents_are_for_anybody() {
    let edge = TestEdge::with(config(), surface(), &[]).await;
    let page = edge.client.get(edge.url("/problems/token_expired")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("Get a new token"));
    let document = edge.client.get(edge.url("/openapi.json")).send().await.unwrap();
    assert_eq!(json(document).await["openapi"], "3.1.0");
    let document = edge.client.get(edge.url("/asyncapi.json")).send().await.unwrap();
    assert_eq!(json(document).await["asyncapi"], "3.0.0");
    let head = edge.client.head(edge.url("/problems")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
    let unknown = edge.client.get(edge.url("/problems/nothing")).send().await.unwrap();
    assert_eq!(unknown.status(), 401, "an unknown path is no page");
}

#[tokio::test]
async fn open_routes_need_no_credentials_but_have_limits() {
    let edge = TestEdge::with(config(), surface(), &[]).await;
    let response = edge.client.post(edge.url("/oauth/token")).body("a=b").send().await.unwrap();
    assert!(response.headers().contains_key("x-ratelimit-limit"));
    assert_eq!(response.text().await.unwrap(), "127.0.0.1 a=b");
    assert_eq!(edge.last_record().route, "token");
    let large = edge.client.post(edge.url("/oauth/token")).body("x".repeat(20_000)).send().await.unwrap();
    assert_eq!((large.status().as_u16(), code(large).await.as_str()), (413, "body_too_large"));
    let get = edge.client.get(edge.url("/oauth/token")).send().await.unwrap();
    assert_eq!(get.headers()["allow"], "POST");
    assert_eq!(code(get).await, "method_not_allowed");
    let none = edge.client.get(edge.url("/oauth/nothing")).send().await.unwrap();
    assert_eq!(code(none).await, "not_found");
}

#[tokio::test]
async fn resources_stand_behind_the_same_gate() {
    let edge = TestEdge::with(config(), surface(), &[]).await;
    let get = |path: &str| edge.client.get(edge.url(path)).header("x-api-key", "good");
    assert_eq!(edge.client.get(edge.url("/v1/equipment")).send().await.unwrap().status(), 401);
    let list = get("/v1/equipment").send().await.unwrap();
    let id = list.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(list.headers()["x-ratelimit-limit"], "60");
    assert_eq!(list.text().await.unwrap(), format!("{} {id}", edge.door.integration.facts().id));
    let create = edge.client.post(edge.url("/v1/equipment")).header("x-api-key", "good").body("{}").send().await;
    assert_eq!(code(create.unwrap()).await, "insufficient_scope", "the scope is judged before the type");
    assert_eq!(code(get("/v1/equipment/nothing").send().await.unwrap()).await, "not_found");
    assert_eq!(code(get("/v1/equipments").send().await.unwrap()).await, "not_found");
    let taken = get("/v1/equipment/taken").send().await.unwrap();
    assert_eq!((taken.status().as_u16(), code(taken).await.as_str()), (409, "conflict"));
    // S115: a read that was under way is 401; what a write has made durable by then stays said.
    assert_eq!(code(get("/v1/equipment/slow").send().await.unwrap()).await, "unauthorized");
    let fallen = get("/v1/equipment/fall").send().await.unwrap();
    assert_eq!((fallen.status().as_u16(), code(fallen).await.as_str()), (500, "internal"));
}

// api.md §3: what the order is, seen by requests that would be refused for several reasons.
#[tokio::test]
async fn checks_come_in_their_order() {
    let edge = TestEdge::start().await;
    let large = "x".repeat(2 << 20);
    let request = |key: &'static str, method: reqwest::Method, content_type: &'static str| {
        edge.client
            .request(method, edge.url("/v1/sensors/readings?validate_only=x"))
            .header("x-api-key", key)
            .header("content-type", content_type)
    };
    let (post, get) = (reqwest::Method::POST, reqwest::Method::GET);
    let admitted = || edge.door.admitted.load(Ordering::Relaxed);
    let check = async |request: reqwest::RequestBuilder| code(request.send().await.unwrap()).await;
    assert_eq!(check(request("unknown", get.clone(), "x")).await, "unauthorized");
    assert_eq!(check(request("elsewhere", get.clone(), "x")).await, "ip_not_allowed");
    assert_eq!(admitted(), 0, "neither costs anything");
    assert_eq!(check(request("good", get, "x")).await, "method_not_allowed");
    assert_eq!(check(request("good", post.clone(), "x").body(large.clone())).await, "unsupported_media_type");
    let json = "application/json";
    let encoded = request("good", post.clone(), json).header("content-encoding", "br").body(large.clone());
    assert_eq!(check(encoded).await, "unsupported_encoding");
    edge.intake.is_full.store(true, Ordering::Relaxed);
    assert_eq!(check(request("good", post.clone(), json).body(large)).await, "body_too_large");
    assert_eq!(check(request("good", post.clone(), json).body("x")).await, "spool_full");
    edge.intake.is_full.store(false, Ordering::Relaxed);
    assert_eq!(check(request("good", post, json).body("x")).await, "invalid_parameter");
    assert_eq!(admitted(), 6, "everything after the address costs one");
}
