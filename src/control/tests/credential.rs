//! Keys and clients: which one opens, and what is left behind of them.

use super::*;
use crate::{
    control::integration::{IntegrationPatch, ReactivateWith},
    model::{
        ClientKey, IntegrationFacts, ProblemCode, Status,
        api_key::{ApiKey, ClientSecret},
    },
};

/// Whether `key` opens, by the facts that the auth snapshot is given.
async fn opens(bed: &Bed, key: &ApiKey) -> bool {
    let (integrations, keys) = bed.control.facts().await.unwrap();
    let Some(fact) = keys.iter().find(|fact| fact.hash == key.hash()) else { return false };
    let of = |facts: &&IntegrationFacts| facts.id == fact.integration_id;
    let facts = integrations.iter().find(of).expect("no key without its integration");
    facts.status == Status::Active && facts.key_generation == fact.generation
}

fn external() -> Issuers {
    Issuers { embedded: None, external: vec!["https://tenant.auth0.test/".to_owned()] }
}

// S090, S091, S112, S121, S131, S140, S170, S200, S201
#[tokio::test]
async fn the_newest_key_opens_and_no_other_ever_again() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let (integration, credentials) = bed.active(ann, bob).await;
    let id = integration.id;
    let first = credentials.api_key.unwrap();
    assert!(opens(&bed, &first).await);

    let (after, second, _) = bed.control.regenerate_key(ann, id, None, None).await.unwrap();
    let second = second.api_key;
    assert!(!opens(&bed, &first).await && opens(&bed, &second).await);
    assert_eq!((after.status, &after.scopes, after.rpm), (Status::Active, &integration.scopes, integration.rpm));
    assert_eq!(after.key.unwrap().prefix, second.prefix());

    bed.control.suspend(ann, id, None, "test".to_owned(), None).await.unwrap();
    assert!(!opens(&bed, &second).await);
    let (_, credentials) = bed.control.reactivate(bob, id, None, ReactivateWith::Generate, None).await.unwrap();
    let third = credentials.api_key.unwrap();
    assert!(!opens(&bed, &first).await && !opens(&bed, &second).await && opens(&bed, &third).await);
    bed.control.revoke(bob, id, None, None).await.unwrap();
    assert!(!opens(&bed, &third).await);
}

// S205, A2
#[tokio::test]
async fn a_staged_key_is_dead_until_a_reactivation_keeps_it() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let (integration, credentials) = bed.active(ann, bob).await;
    let (id, first) = (integration.id, credentials.api_key.unwrap());
    let suspend = async || bed.control.suspend(ann, id, None, "test".to_owned(), None).await.unwrap();
    let stage = async || bed.control.regenerate_key(ann, id, None, Some("staff left".to_owned())).await.unwrap().1;

    suspend().await;
    let error = bed.control.reactivate(bob, id, None, ReactivateWith::KeepStaged, None).await.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::InvalidState);
    let (dropped, staged) = (stage().await, stage().await);
    assert!(staged.is_staged && !opens(&bed, &staged.api_key).await);
    assert_eq!(bed.get(id).await.staged_key.unwrap().prefix, staged.api_key.prefix());

    let (after, kept) = bed.control.reactivate(bob, id, None, ReactivateWith::KeepStaged, None).await.unwrap();
    assert!(kept.api_key.is_none() && kept.client_secret.is_none());
    assert_eq!(kept.key_prefix, staged.api_key.prefix());
    assert_eq!(after.staged_key, None);
    assert!(opens(&bed, &staged.api_key).await);
    assert!(!opens(&bed, &dropped.api_key).await && !opens(&bed, &first).await);

    suspend().await;
    let unused = stage().await;
    let (_, fresh) = bed.control.reactivate(bob, id, None, ReactivateWith::Generate, None).await.unwrap();
    assert!(opens(&bed, &fresh.api_key.unwrap()).await && !opens(&bed, &unused.api_key).await);
}

// S082, S119, A1; api.md §6: a client whose integration is not Active gets no token.
#[tokio::test]
async fn a_client_of_the_embedded_issuer_is_known_by_its_newest_secret_while_active() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let (integration, first) = bed.active(ann, bob).await;
    let id = integration.id;
    let client_id = first.client_id.clone();
    let verify = async |secret: &ClientSecret| {
        let client = bed.control.verify_client(client_id.clone(), secret.clone()).await.unwrap();
        client.map(|client| (client.integration_id, client.scopes))
    };
    let (first, known) = (first.client_secret.unwrap(), Some((id, integration.scope_set())));
    assert_eq!(verify(&first).await, known);
    let other = ClientSecret::generate_with(getrandom::fill).unwrap();
    assert_eq!(verify(&other).await, None);
    assert_eq!(bed.control.verify_client("nobody".to_owned(), first.clone()).await.unwrap(), None);

    bed.control.regenerate_key(ann, id, None, None).await.unwrap();
    assert_eq!(verify(&first).await, known, "a new key leaves the client alone");
    bed.control.suspend(ann, id, None, "test".to_owned(), None).await.unwrap();
    assert_eq!(verify(&first).await, None);
    bed.control.regenerate_key(ann, id, None, None).await.unwrap();
    bed.control.reactivate(bob, id, None, ReactivateWith::KeepStaged, None).await.unwrap();
    assert_eq!(verify(&first).await, known, "keep_staged leaves the client alone");
    bed.control.suspend(ann, id, None, "test".to_owned(), None).await.unwrap();
    let (_, second) = bed.control.reactivate(bob, id, None, ReactivateWith::Generate, None).await.unwrap();
    assert_eq!(second.client_id, client_id);
    assert_eq!(verify(&first).await, None);
    assert_eq!(verify(&second.client_secret.unwrap()).await, known);
    bed.control.revoke(bob, id, None, None).await.unwrap();
    assert_eq!(verify(&first).await, None);
}

// S188, S189, A1: an external issuer's client is bound at onboarding, to one integration.
#[tokio::test]
async fn a_client_of_an_external_issuer_is_bound_before_activation() {
    let bed = Bed::new(external()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let unbound = bed.approved(ann, bob).await;
    let error = bed.control.activate(ann, unbound.id, None).await.unwrap_err();
    assert!(error.problem() == ProblemCode::InvalidState && error.to_string().contains("client_id"), "{error}");

    let bind = |client_id: &str| IntegrationPatch { client_id: Some(client_id.to_owned()), ..Default::default() };
    bed.control.update_integration(ann, unbound.id, None, bind("Abc123")).await.unwrap();
    let (active, credentials) = bed.control.activate(ann, unbound.id, None).await.unwrap();
    assert_eq!((credentials.client_id.as_str(), credentials.client_secret.is_none()), ("Abc123", true));
    let (facts, _) = bed.control.facts().await.unwrap();
    let issuer = "https://tenant.auth0.test/".to_owned();
    assert_eq!(facts[0].client, Some(ClientKey { issuer, client_id: "Abc123".to_owned() }));

    let second = NewIntegration { client_id: Some("Abc123".to_owned()), ..request(ann.user_id) };
    let error = bed.control.create_integration(ann, second.clone()).await.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::Conflict);
    let error = bed.control.update_integration(ann, active.id, None, bind("Def456")).await.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::ValidationFailed, "not while active");
    // A revoked integration lets go of its client (S142).
    bed.control.revoke(ann, active.id, None, None).await.unwrap();
    bed.control.create_integration(ann, second).await.unwrap();
}

#[tokio::test]
async fn a_client_id_is_refused_where_the_embedded_issuer_makes_it() {
    let bed = Bed::new(embedded()).await;
    let ann = bed.administrator().await;
    let given = NewIntegration { client_id: Some("Abc123".to_owned()), ..request(ann.user_id) };
    let error = bed.control.create_integration(ann, given).await.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::ValidationFailed);
}

// S084, S085, S143, S194: no file of the data directory, no entry and no Debug output holds a secret.
#[tokio::test]
async fn secrets_are_in_no_file_and_no_log() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let (integration, first) = bed.active(ann, bob).await;
    let id = integration.id;
    let (after, second, _) = bed.control.regenerate_key(ann, id, None, None).await.unwrap();
    bed.control.suspend(ann, id, None, "test".to_owned(), None).await.unwrap();
    let (_, staged, _) = bed.control.regenerate_key(ann, id, None, None).await.unwrap();
    let (last, third) = bed.control.reactivate(bob, id, None, ReactivateWith::Generate, None).await.unwrap();
    let mut seen = format!("{first:?} {second:?} {third:?} {after:?} {last:?}");
    let log = bed.control.audit_log(bed.organisation_id, Default::default(), Default::default()).await.unwrap();
    seen.push_str(&format!("{log:?} {:?}", bed.control.facts().await.unwrap()));

    let files: Vec<_> = walkdir::WalkDir::new(bed.path()).into_iter().map(Result::unwrap).collect();
    let bytes = |entry: &walkdir::DirEntry| std::fs::read(entry.path()).unwrap();
    let contents: Vec<Vec<u8>> = files.iter().filter(|entry| entry.file_type().is_file()).map(bytes).collect();
    assert!(contents.len() >= 4, "database, its log, signing key and head");
    let (first_key, third_key) = (first.api_key.unwrap(), third.api_key.unwrap());
    let (first_secret, third_secret) = (first.client_secret.unwrap(), third.client_secret.unwrap());
    let holds = |haystack: &[u8], needle: &str| haystack.windows(needle.len()).any(|part| part == needle.as_bytes());
    for secret in [
        first_key.expose(),
        second.api_key.expose(),
        staged.api_key.expose(),
        third_key.expose(),
        first_secret.expose(),
        third_secret.expose(),
    ] {
        // One character more than the prefix that may be shown.
        let needle = &secret[..ApiKey::SHOWN_CHARS + 1];
        assert!(!seen.contains(needle));
        assert!(contents.iter().all(|content| !holds(content, needle)));
    }
    // The search itself works: the prefix is there.
    assert!(contents.iter().any(|content| holds(content, first_key.prefix())));
}
