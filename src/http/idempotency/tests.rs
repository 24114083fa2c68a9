use super::*;

fn config() -> Config {
    let file: toml::Table = toml::from_str(include_str!("../../../config/default.toml")).unwrap();
    file["http"].clone().try_into().unwrap()
}

fn answer(text: &str) -> Answer {
    Answer { status: 200, accepted: 1, rejected: 0, tail: Bytes::from(text.to_owned()) }
}

fn mine(claim: Claim) -> Running {
    match claim {
        Claim::Mine(running) => running,
        other => panic!("{other:?}"),
    }
}

fn key(number: u64) -> Key {
    key_of(IntegrationId::from_uuid(uuid::Uuid::nil()), "readings", &number.to_be_bytes())
}

const BODY: Fingerprint = [1; 32];
const OTHER: Fingerprint = [2; 32];

// api.md §1: replay, 422 for another body, 409 while running.
#[test]
fn a_key_is_run_once_and_replayed_after() {
    let memory = Arc::new(Idempotency::in_memory(&config()));
    let running = mine(memory.claim(key(1), BODY, 0));
    assert!(matches!(memory.claim(key(1), BODY, 0), Claim::InProgress));
    assert!(matches!(memory.claim(key(1), OTHER, 0), Claim::Reused));
    running.answered(answer("x"), 1);
    assert!(matches!(memory.claim(key(1), BODY, 2), Claim::Replay(kept) if kept == answer("x")));
    assert!(matches!(memory.claim(key(1), OTHER, 2), Claim::Reused));
    assert!(matches!(memory.claim(key(2), BODY, 2), Claim::Mine(_)), "another key is another request");
}

// api.md §1: only durable answers are kept; what was refused may be tried again under the same key.
#[test]
fn a_refused_request_leaves_its_key_free() {
    let memory = Arc::new(Idempotency::in_memory(&config()));
    drop(mine(memory.claim(key(1), BODY, 0)));
    assert!(matches!(memory.claim(key(1), OTHER, 0), Claim::Mine(_)));
    assert!(memory.state.lock().entries.is_empty());
}

#[test]
fn an_answer_is_kept_for_24_hours() {
    let memory = Arc::new(Idempotency::in_memory(&config()));
    mine(memory.claim(key(1), BODY, 100)).answered(answer("x"), 100);
    assert!(matches!(memory.claim(key(1), BODY, 100 + KEPT_S - 1), Claim::Replay(_)));
    assert!(matches!(memory.claim(key(1), BODY, 100 + KEPT_S), Claim::Mine(_)));
}

#[test]
fn the_memory_is_bounded_in_entries_and_bytes_and_the_oldest_go_first() {
    let config = Config { idempotency_entries_max: 10, idempotency_bytes_max: 4_000, ..config() };
    let memory = Arc::new(Idempotency::in_memory(&config));
    for number in 0..100 {
        mine(memory.claim(key(number), BODY, 0)).answered(answer("x"), 0);
    }
    assert_eq!(memory.state.lock().entries.len(), 10);
    assert!(matches!(memory.claim(key(99), BODY, 0), Claim::Replay(_)));
    assert!(matches!(memory.claim(key(89), BODY, 0), Claim::Mine(_)));
    mine(memory.claim(key(200), BODY, 0)).answered(answer(&"x".repeat(3_000)), 0);
    let state = memory.state.lock();
    assert!(state.bytes <= 4_000 && state.entries.len() < 10 && state.entries.contains_key(&key(200)));
    let weighed: usize = state
        .entries
        .values()
        .filter_map(|entry| match entry {
            Entry::Answered { answer, .. } => Some(weight(answer)),
            Entry::Running { .. } => None,
        })
        .sum();
    assert_eq!(state.bytes, weighed);
}

#[test]
fn a_restart_keeps_what_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Idempotency::open(dir.path(), &config(), 1_000).unwrap();
    mine(memory.claim(key(1), BODY, 1_000)).answered(answer("one"), 1_000);
    mine(memory.claim(key(2), OTHER, 1_000)).answered(Answer { status: 207, rejected: 7, ..answer("two") }, 1_050);
    let _running = memory.claim(key(3), BODY, 1_000);
    drop(_running);
    drop(memory);
    let memory = Idempotency::open(dir.path(), &config(), 1_100).unwrap();
    assert!(matches!(memory.claim(key(1), BODY, 1_100), Claim::Replay(kept) if kept == answer("one")));
    assert!(matches!(memory.claim(key(2), OTHER, 1_100), Claim::Replay(kept) if kept.rejected == 7));
    assert!(matches!(memory.claim(key(2), BODY, 1_100), Claim::Reused));
    assert!(matches!(memory.claim(key(3), BODY, 1_100), Claim::Mine(_)));
    drop(memory);
    let late = Idempotency::open(dir.path(), &config(), 1_000 + KEPT_S).unwrap();
    assert!(matches!(late.claim(key(1), BODY, 1_000 + KEPT_S), Claim::Mine(_)));
}

#[test]
fn a_broken_file_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("idempotency.sqlite"), b"this is no database, and long enough to be seen").unwrap();
    let memory = Idempotency::open(dir.path(), &config(), 0).unwrap();
    mine(memory.claim(key(1), BODY, 0)).answered(answer("x"), 0);
    drop(memory);
    let memory = Idempotency::open(dir.path(), &config(), 0).unwrap();
    assert!(matches!(memory.claim(key(1), BODY, 0), Claim::Replay(_)));
}

#[test]
fn the_file_holds_the_newest_only() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { idempotency_entries_max: 5, ..config() };
    let memory = Idempotency::open(dir.path(), &config, 0).unwrap();
    for number in 0..20_i64 {
        mine(memory.claim(key(number.unsigned_abs()), BODY, number)).answered(answer("x"), number);
    }
    drop(memory);
    let db = rusqlite::Connection::open(dir.path().join("idempotency.sqlite")).unwrap();
    let (count, oldest): (i64, i64) = db
        .query_row("SELECT count(*), min(answered_s) FROM answers", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((count, oldest), (5, 15));
}

#[test]
fn a_key_is_1_to_255_printable_ascii_characters_given_once() {
    let check = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", http::HeaderValue::from_bytes(value).unwrap());
        }
        named(&headers).map(|key| key.map(<[u8]>::to_vec)).map_err(|refusal| refusal.problem)
    };
    assert_eq!(check(&[]).unwrap(), None);
    assert_eq!(check(&[b"a key ~"]).unwrap(), Some(b"a key ~".to_vec()));
    assert!(check(&[&[b'x'; 255]]).is_ok());
    for refused in [&[&b""[..]][..], &[&[b'x'; 256]], &[b"a", b"a"], &[b"a\tb"], &["é".as_bytes()]] {
        assert_eq!(check(refused), Err(ProblemCode::IdempotencyKeyInvalid), "{refused:?}");
    }
}

#[test]
fn what_differs_in_anything_is_another_request() {
    let (one, two) = (IntegrationId::generate(), IntegrationId::generate());
    assert_ne!(key_of(one, "readings", b"k"), key_of(two, "readings", b"k"));
    assert_ne!(key_of(one, "readings", b"k"), key_of(one, "equipment", b"k"));
    assert_ne!(key_of(one, "ab", b"c"), key_of(one, "a", b"bc"));
    assert_ne!(fingerprint_of(b"{}", true), fingerprint_of(b"{}", false), "a validation stores nothing");
    let bound = |version: &str| HeaderMap::from_iter([(IF_MATCH, version.parse().unwrap())]);
    let call = |version: &str| fingerprint_of_call(&bound(version), b"{}");
    assert_ne!(call("\"1\""), call("\"2\""), "the change of another version is another request");
    assert_ne!(call("\"1\""), fingerprint_of_call(&HeaderMap::new(), b"{}"));
}
