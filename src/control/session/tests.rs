use super::*;
use crate::control::{
    Actor, NewUser, UserPatch,
    tests::{Bed, embedded},
};

struct Signed {
    bed: Bed,
    administrator: Actor,
    user_id: UserId,
    password: Password,
}

const EMAIL: &str = "Grace@Example.test";

impl Signed {
    async fn new() -> Self {
        let bed = Bed::new(embedded()).await;
        let administrator = bed.administrator().await;
        let new = NewUser { email: EMAIL.to_owned(), name: "Grace".to_owned(), permission: false };
        let (user, password) = bed.control.create_user(administrator, new).await.unwrap();
        Self { bed, administrator, user_id: user.id, password }
    }

    async fn sign_in(&self) -> SignedIn {
        let id = RequestId::generate();
        self.bed.control.sign_in(EMAIL, self.password.clone(), None, id).await.unwrap().expect("signed in")
    }

    async fn is_live(&self, token: &SessionToken) -> bool {
        self.bed.control.session(token.expose()).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn a_token_is_random_and_only_its_hash_is_kept() {
    let signed = Signed::new().await;
    let (one, two) = (signed.sign_in().await, signed.sign_in().await);
    assert_ne!(one.token.expose(), two.token.expose());
    assert!(one.token.expose().starts_with("grq_admin_") && one.token.expose().len() == 74);
    assert!(!format!("{one:?}").contains(&one.token.expose()[10..]));
    // S085: neither the token nor a password stands in any file.
    for entry in walkdir::WalkDir::new(signed.bed.path()).into_iter().filter_map(Result::ok) {
        let Ok(bytes) = std::fs::read(entry.path()) else { continue };
        for secret in [one.token.expose(), signed.password.expose()] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{}", entry.path().display());
        }
    }
}

#[tokio::test]
async fn the_address_is_known_in_any_case_and_a_wrong_password_is_not() {
    let signed = Signed::new().await;
    let control = &signed.bed.control;
    for (email, password, works) in [
        ("grace@example.test", signed.password.clone(), true),
        ("GRACE@EXAMPLE.TEST", signed.password.clone(), true),
        (EMAIL, Password::new("wrong".to_owned()), false),
        (EMAIL, Password::new(String::new()), false),
        (EMAIL, Password::new("x".repeat(100_000)), false),
        ("nobody@example.test", signed.password.clone(), false),
    ] {
        let outcome = control.sign_in(email, password, None, RequestId::generate()).await.unwrap();
        assert_eq!(outcome.is_some(), works, "{email}");
    }
    // Written apart from the answers, so that their time tells nothing.
    let sql = "SELECT count(*) FROM audit_entries WHERE action = 'login_refused'";
    let written = async {
        while signed.bed.sql().query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), written).await.expect("three entries");
}

#[tokio::test]
async fn sessions_end_by_sign_out_deactivation_reset_and_permission_loss() {
    let signed = Signed::new().await;
    let control = &signed.bed.control;
    let kept = signed.sign_in().await;
    let session = control.session(kept.token.expose()).await.unwrap().expect("live");
    control.sign_out(&session, None, RequestId::generate()).await.unwrap();
    assert!(!signed.is_live(&kept.token).await);

    let token = signed.sign_in().await.token;
    let active = |active| UserPatch { active: Some(active), ..UserPatch::default() };
    control.update_user(signed.administrator, signed.user_id, active(false), None).await.unwrap();
    assert!(!signed.is_live(&token).await);
    let id = RequestId::generate();
    assert!(control.sign_in(EMAIL, signed.password.clone(), None, id).await.unwrap().is_none(), "not active");
    control.update_user(signed.administrator, signed.user_id, active(true), None).await.unwrap();
    assert!(!signed.is_live(&token).await, "an ended session stays ended");

    let token = signed.sign_in().await.token;
    control.reset_password(signed.administrator, signed.user_id, None).await.unwrap();
    assert!(!signed.is_live(&token).await);
    assert!(control.sign_in(EMAIL, signed.password.clone(), None, id).await.unwrap().is_none(), "the old one is dead");
}

#[tokio::test]
async fn a_permission_that_is_taken_away_ends_the_sessions_of_a_holder() {
    let signed = Signed::new().await;
    let second = signed.bed.administrator().await;
    let grant = |permission| UserPatch { permission: Some(permission), ..UserPatch::default() };
    let control = &signed.bed.control;
    let first = signed.sign_in().await;
    let session = control.session(first.token.expose()).await.unwrap().expect("live");
    let own = Password::new("a password of my own".to_owned());
    let id = RequestId::generate();
    control.change_password(&session, Some(signed.password.clone()), own, None, id).await.unwrap();
    control.update_user(signed.administrator, signed.user_id, grant(true), None).await.unwrap();
    control.confirm_user(second, signed.user_id, None).await.unwrap();
    assert_eq!(control.session(first.token.expose()).await.unwrap().expect("live").permission, Standing::Held);
    control.update_user(second, signed.user_id, grant(false), None).await.unwrap();
    assert!(!signed.is_live(&first.token).await);
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions_and_must_be_good() {
    let signed = Signed::new().await;
    let control = &signed.bed.control;
    let (mine, other) = (signed.sign_in().await, signed.sign_in().await);
    let session = control.session(mine.token.expose()).await.unwrap().expect("live");
    let id = RequestId::generate();
    let change = |current: Password, new: &str| {
        control.change_password(&session, Some(current), Password::new(new.to_owned()), None, id)
    };
    let refused = |error: Error| match error {
        Error::Invalid(fields) => fields[0].field.clone(),
        other => panic!("{other}"),
    };
    let wrong = change(Password::new("wrong".to_owned()), "long enough to pass").await;
    assert_eq!(refused(wrong.unwrap_err()), "current_password");
    assert_eq!(refused(change(signed.password.clone(), "short").await.unwrap_err()), "new_password");
    let same = signed.password.expose().to_owned();
    assert_eq!(refused(change(signed.password.clone(), &same).await.unwrap_err()), "new_password");
    change(signed.password.clone(), "long enough to pass").await.unwrap();
    assert!(signed.is_live(&mine.token).await && !signed.is_live(&other.token).await);
    assert!(!control.session(mine.token.expose()).await.unwrap().expect("live").must_change_password);
}

#[tokio::test]
async fn sessions_end_when_idle_and_at_their_absolute_end() {
    let signed = Signed::new().await;
    let (idle, old) = (signed.sign_in().await, signed.sign_in().await);
    let age = |column: &str, token: &SessionToken, seconds: i64| {
        let sql = format!("UPDATE sessions SET {column} = {column} - ?2 WHERE token_hash = ?1");
        signed.bed.sql().execute(&sql, (SessionKey::of(token.expose()).0, seconds * 1_000_000)).unwrap();
    };
    age("last_used_at_us", &idle.token, 1_790);
    assert!(signed.is_live(&idle.token).await, "1,790 of 1,800 idle seconds");
    age("last_used_at_us", &idle.token, 1_790);
    assert!(signed.is_live(&idle.token).await, "the call before was written down as a use");
    age("last_used_at_us", &idle.token, 1_801);
    assert!(!signed.is_live(&idle.token).await);
    age("expires_at_us", &old.token, 28_801);
    assert!(!signed.is_live(&old.token).await);
    assert!(signed.bed.control.session("grq_admin_").await.unwrap().is_none());
}
