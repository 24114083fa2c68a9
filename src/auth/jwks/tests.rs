use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use super::*;

/// Saves `document` as the last keys of `issuer`, and tells where.
pub(in crate::auth) fn saved_keys(dir: &Path, issuer: &str, document: &Bytes, fetched_at_us: i64) -> PathBuf {
    Saved::new(dir, issuer).write(document, fetched_at_us).expect("written");
    let mut files = std::fs::read_dir(dir).expect("readable").map(|entry| entry.expect("an entry").path());
    files.next().expect("a file")
}

#[test]
fn saved_keys_are_one_issuers_own_and_private() {
    let dir = tempfile::tempdir().expect("a directory");
    let inner = dir.path().join("keys");
    let document = Bytes::from_static(br#"{"keys":[{"kty":"RSA"}]}"#);
    let path = saved_keys(&inner, "https://a.test/", &document, 7);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&inner), mode(&path)), (0o700, 0o600));
    assert_eq!(Saved::new(&inner, "https://a.test/").read().expect("readable"), Some((document.clone(), 7)));
    assert_eq!(Saved::new(&inner, "https://b.test/").read().expect("readable"), None);
    // A file that was put under another issuer's name is not believed.
    std::fs::rename(&path, Saved::new(&inner, "https://b.test/").path).expect("renamed");
    assert_eq!(Saved::new(&inner, "https://b.test/").read().expect("readable"), None);
    std::fs::write(&path, "not JSON").expect("written");
    assert!(Saved::new(&inner, "https://a.test/").read().is_err());
}
