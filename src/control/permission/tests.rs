use super::*;
use crate::{
    control::{
        FirstAdministrator, NewUser, PageRequest, UserPatch,
        tests::{Bed, embedded},
    },
    model::{ProblemCode, RequestId},
};

const OWN_PASSWORD: &str = "a password of my own";

fn new_user(email: &str, permission: bool) -> NewUser {
    NewUser { email: email.to_owned(), name: "A. Person".to_owned(), permission }
}

/// Signs in with `password` and replaces it.
async fn set_own_password(control: &Control, email: &str, password: Password) -> Actor {
    let request_id = RequestId::generate();
    let signed_in = control.sign_in(email, password.clone(), None, request_id).await.unwrap().expect("signed in");
    assert!(signed_in.must_change_password);
    let session = control.session(signed_in.token.expose()).await.unwrap().expect("a session");
    let new = Password::new(OWN_PASSWORD.to_owned());
    control.change_password(&session, Some(password), new, None, request_id).await.unwrap();
    Actor { user_id: session.user_id, organisation_id: session.organisation_id, ip: None, request_id }
}

fn problem<T: std::fmt::Debug>(result: Result<T, Error>) -> ProblemCode {
    result.expect_err("refused").problem()
}

async fn actions(bed: &Bed) -> Vec<String> {
    let sql = "SELECT action FROM audit_entries WHERE organisation_id = ?1 ORDER BY seq";
    let connection = bed.sql();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([bed.organisation_id], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

// api.md §6: the permission given to somebody takes effect only when another holder confirms, and not before the user
// has set a password of their own.
#[tokio::test]
async fn a_grant_waits_for_another_holder_and_for_an_own_password() {
    let bed = Bed::new(embedded()).await;
    let (first, second) = (bed.administrator().await, bed.administrator().await);
    let (user, one_time) = bed.control.create_user(first, new_user("carol@example.test", true)).await.unwrap();
    assert_eq!((user.permission, user.must_change_password), (Standing::Pending, true));

    assert_eq!(problem(bed.control.confirm_user(second, user.id, None).await), ProblemCode::InvalidState);
    let carol = set_own_password(&bed.control, "carol@example.test", one_time).await;
    assert_eq!(problem(bed.control.confirm_user(carol, user.id, None).await), ProblemCode::PermissionDenied);
    assert_eq!(problem(bed.control.confirm_user(first, user.id, None).await), ProblemCode::SelfConfirmation);
    let confirmed = bed.control.confirm_user(second, user.id, None).await.unwrap();
    assert_eq!(confirmed.permission, Standing::Held);
    assert_eq!(problem(bed.control.confirm_user(second, user.id, None).await), ProblemCode::InvalidState);

    let actions = actions(&bed).await;
    for action in ["user_create", "user_confirm_refused", "user_confirm"] {
        assert!(actions.iter().any(|a| a == action), "{action} in {actions:?}");
    }
}

// api.md §6: a reset of a holder's password takes effect only when another holder confirms; who reset it cannot.
#[tokio::test]
async fn a_reset_of_a_holder_takes_the_permission_until_another_confirms() {
    let bed = Bed::new(embedded()).await;
    let (first, second, third) = (bed.administrator().await, bed.administrator().await, bed.administrator().await);
    let (user, one_time) = bed.control.reset_password(first, third.user_id, None).await.unwrap();
    assert_eq!(user.permission, Standing::Pending);
    assert_eq!(
        problem(bed.control.create_user(third, new_user("x@example.test", false)).await),
        ProblemCode::PermissionDenied
    );
    set_own_password(&bed.control, &user.email, one_time).await;
    assert_eq!(problem(bed.control.confirm_user(first, third.user_id, None).await), ProblemCode::SelfConfirmation);
    bed.control.confirm_user(second, third.user_id, None).await.unwrap();
    bed.control.create_user(third, new_user("x@example.test", false)).await.unwrap();
}

// Somebody who reset a member's password knows it for a while: they do not confirm a permission that another gave.
#[tokio::test]
async fn who_reset_the_password_cannot_confirm_what_another_granted() {
    let bed = Bed::new(embedded()).await;
    let (first, second) = (bed.administrator().await, bed.administrator().await);
    let (user, _) = bed.control.create_user(first, new_user("dave@example.test", true)).await.unwrap();
    let (_, one_time) = bed.control.reset_password(second, user.id, None).await.unwrap();
    set_own_password(&bed.control, "dave@example.test", one_time).await;
    assert_eq!(problem(bed.control.confirm_user(second, user.id, None).await), ProblemCode::SelfConfirmation);
    assert_eq!(problem(bed.control.confirm_user(first, user.id, None).await), ProblemCode::SelfConfirmation);
    let third = bed.administrator().await;
    bed.control.confirm_user(third, user.id, None).await.unwrap();
}

#[tokio::test]
async fn own_passwords_are_not_reset_and_the_last_holder_stays() {
    let bed = Bed::new(embedded()).await;
    let (first, second) = (bed.administrator().await, bed.administrator().await);
    assert_eq!(problem(bed.control.reset_password(first, first.user_id, None).await), ProblemCode::InvalidState);
    let remove = || UserPatch { permission: Some(false), ..UserPatch::default() };
    bed.control.update_user(first, second.user_id, remove(), None).await.unwrap();
    assert_eq!(problem(bed.control.update_user(first, first.user_id, remove(), None).await), ProblemCode::InvalidState);
    let stop = UserPatch { active: Some(false), ..UserPatch::default() };
    assert_eq!(problem(bed.control.update_user(first, first.user_id, stop, None).await), ProblemCode::InvalidState);
}

// A holder who was deactivated comes back pending: to let them in again is to give the permission anew.
#[tokio::test]
async fn a_holder_who_comes_back_must_be_confirmed() {
    let bed = Bed::new(embedded()).await;
    let (first, second, third) = (bed.administrator().await, bed.administrator().await, bed.administrator().await);
    let active = |active| UserPatch { active: Some(active), ..UserPatch::default() };
    bed.control.update_user(first, third.user_id, active(false), None).await.unwrap();
    let user = bed.control.update_user(first, third.user_id, active(true), None).await.unwrap();
    assert_eq!(user.permission, Standing::Pending);
    assert_eq!(problem(bed.control.confirm_user(first, third.user_id, None).await), ProblemCode::SelfConfirmation);
    bed.control.confirm_user(second, third.user_id, None).await.unwrap();
}

// S005, api.md §6: with a single holder left only the break-glass command helps, and it is loud.
#[tokio::test]
async fn the_glass_breaks_only_where_nobody_else_can_confirm() {
    let bed = Bed::new(embedded()).await;
    let (first, second) = (bed.administrator().await, bed.administrator().await);
    let (user, one_time) = bed.control.create_user(first, new_user("Eve@Example.test", true)).await.unwrap();
    set_own_password(&bed.control, "eve@example.test", one_time).await;
    assert_eq!(problem(bed.control.break_glass("eve@example.test", "holiday").await), ProblemCode::InvalidState);
    let remove = UserPatch { permission: Some(false), ..UserPatch::default() };
    bed.control.update_user(first, second.user_id, remove, None).await.unwrap();
    assert_eq!(problem(bed.control.break_glass("eve@example.test", "  ").await), ProblemCode::ValidationFailed);
    let user =
        bed.control.break_glass("eve@example.test", "second holder left").await.map(|u| (u.id, user.id)).unwrap();
    assert_eq!(user.0, user.1);
    assert_eq!(actions(&bed).await.last().map(String::as_str), Some("break_glass"));
}

// The rules live in the database too: raw SQL does not get around dual control.
#[tokio::test]
async fn a_hand_at_the_sql_prompt_cannot_make_a_holder() {
    let bed = Bed::new(embedded()).await;
    let (first, second) = (bed.administrator().await, bed.administrator().await);
    let third = bed.member("[]").await;
    let sql = bed.sql();
    let insert =
        "INSERT INTO user_permissions (user_id, permission, state, origin, granted_by, granted_at_us, confirmed_by)
                  VALUES (?1, 'administration_integrations_access', ?2, ?3, ?4, 0, ?5)";
    let none = None::<UserId>;
    for (state, origin, by, confirmed) in [
        ("held", "bootstrap", none, none),
        ("held", "grant", Some(first.user_id), Some(second.user_id)),
        ("held", "break_glass", Some(first.user_id), none),
        ("pending", "grant", Some(third.user_id), none),
        ("pending", "grant", none, none),
    ] {
        let refused = sql.execute(insert, (third.user_id, state, origin, by, confirmed));
        assert!(refused.is_err(), "{state} {origin}");
    }
    sql.execute(insert, (third.user_id, "pending", "grant", Some(first.user_id), none)).unwrap();
    for statement in [
        "UPDATE user_permissions SET state = 'held' WHERE user_id = ?1",
        "UPDATE user_permissions SET state = 'held', origin = 'bootstrap' WHERE user_id = ?1",
        "UPDATE user_permissions SET state = 'held', origin = 'break_glass' WHERE user_id = ?1",
        "UPDATE user_permissions SET state = 'held', confirmed_by = granted_by WHERE user_id = ?1",
        "UPDATE user_permissions SET state = 'held', confirmed_by = user_id WHERE user_id = ?1",
        "DELETE FROM user_permissions WHERE user_id = ?1",
        "DELETE FROM users WHERE id = ?1",
    ] {
        assert!(sql.execute(statement, [third.user_id]).is_err(), "{statement}");
    }
    let reset = "UPDATE users SET password_hash = '$argon2id$x', password_one_time = 1 WHERE id = ?1";
    assert!(sql.execute(reset, [first.user_id]).is_err(), "a holder's reset makes the permission pending first");
}

// H7: two administrators from the start, once.
#[tokio::test]
async fn a_bootstrap_makes_two_holders_with_one_time_passwords_once() {
    let bed = Bed::new(embedded()).await;
    let pair = || {
        ["ada@farm.test", "bob@farm.test"]
            .map(|email| FirstAdministrator { email: email.to_owned(), name: "First".to_owned() })
    };
    let (organisation_id, [ada, bob]) = bed.control.bootstrap(" Farm ", pair()).await.unwrap();
    let ada = set_own_password(&bed.control, &ada.email, ada.one_time_password).await;
    assert_eq!(ada.organisation_id, organisation_id);
    let bob = set_own_password(&bed.control, "BOB@farm.test", bob.one_time_password).await;
    let users = bed.control.users(bob.organisation_id, PageRequest::default()).await.unwrap().items;
    assert!(users.iter().all(|user| user.permission == Standing::Held) && users.len() == 2);

    assert_eq!(problem(bed.control.bootstrap("FARM", pair()).await), ProblemCode::Conflict);
    assert_eq!(
        problem(bed.control.bootstrap("Other farm", pair()).await),
        ProblemCode::Conflict,
        "addresses are taken"
    );
    let names: Vec<_> = bed.control.organisations().await.unwrap().into_iter().map(|o| o.name).collect();
    assert!(names.contains(&"Farm".to_owned()) && !names.contains(&"Other farm".to_owned()));
    let mut twice = pair();
    twice[1].email = "ada@NEW.test".to_owned();
    twice[0].email = "ADA@new.test".to_owned();
    assert_eq!(problem(bed.control.bootstrap("Third farm", twice).await), ProblemCode::Conflict);
}

// S008: members of another organisation do not exist.
#[tokio::test]
async fn organisations_do_not_see_each_other() {
    let (bed, other) = (Bed::new(embedded()).await, Bed::new(embedded()).await);
    let actor = bed.administrator().await;
    let organisation_id = crate::control::tests::add_organisation(&bed.control).await;
    let stranger = crate::control::tests::add_user(&bed.control, organisation_id, "[]").await;
    drop(other);
    assert_eq!(problem(bed.control.user(actor.organisation_id, stranger.user_id).await), ProblemCode::NotFound);
    assert_eq!(problem(bed.control.reset_password(actor, stranger.user_id, None).await), ProblemCode::NotFound);
    assert_eq!(problem(bed.control.confirm_user(actor, stranger.user_id, None).await), ProblemCode::NotFound);
    let taken =
        new_user(&bed.control.user(organisation_id, stranger.user_id).await.unwrap().email.to_uppercase(), false);
    assert_eq!(problem(bed.control.create_user(actor, taken).await), ProblemCode::Conflict);
}

#[tokio::test]
async fn a_stale_version_and_bad_fields_change_nothing() {
    let bed = Bed::new(embedded()).await;
    let actor = bed.administrator().await;
    let (user, _) = bed.control.create_user(actor, new_user("frank@example.test", false)).await.unwrap();
    let rename = |name: &str| UserPatch { name: Some(name.to_owned()), ..UserPatch::default() };
    let renamed = bed.control.update_user(actor, user.id, rename("Frank"), Some(user.version)).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.version), ("Frank", user.version + 1));
    let stale = bed.control.update_user(actor, user.id, rename("F."), Some(user.version)).await;
    assert_eq!(problem(stale), ProblemCode::VersionConflict);
    let same = bed.control.update_user(actor, user.id, rename("Frank"), None).await.unwrap();
    assert_eq!(same.version, renamed.version, "no change, no version, no entry");
    for (email, name) in [("no-at", "n"), ("a@b@c", "n"), ("a b@c", "n"), ("@c", "n"), ("a@", "n"), ("a@b.c", " \t")] {
        let new = NewUser { email: email.to_owned(), name: name.to_owned(), permission: false };
        assert_eq!(problem(bed.control.create_user(actor, new).await), ProblemCode::ValidationFailed, "{email} {name}");
    }
}

// Of several who confirm at once exactly one does; the others find nothing pending.
#[tokio::test]
async fn a_permission_is_confirmed_once() {
    let bed = Bed::new(embedded()).await;
    let (first, second) = (bed.administrator().await, bed.administrator().await);
    let (user, one_time) = bed.control.create_user(first, new_user("race@example.test", true)).await.unwrap();
    set_own_password(&bed.control, "race@example.test", one_time).await;
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let control = bed.control.clone();
        attempts
            .spawn(async move { control.confirm_user(second, user.id, None).await.map_err(|error| error.problem()) });
    }
    let outcomes = attempts.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().filter_map(|o| o.as_ref().err()).all(|problem| *problem == ProblemCode::InvalidState));
}
