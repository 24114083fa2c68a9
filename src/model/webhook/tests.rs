use super::*;

fn public() -> TargetRules {
    TargetRules { allow_private: false, ports: vec![443, 8_443], allowed_networks: vec![] }
}

fn private() -> TargetRules {
    TargetRules { allow_private: true, ..TargetRules::default() }
}

// S311: the table of everything that must not be reached, in all the ways of writing it.
#[test]
fn targets_that_are_refused_as_they_are_saved() {
    use TargetError as E;
    for (url, error) in [
        ("http://example.com/", E::Scheme),
        ("ftp://example.com/", E::Scheme),
        ("file:///etc/passwd", E::Scheme),
        ("gopher://example.com/", E::Scheme),
        ("example.com/hook", E::NotAUrl),
        ("https://", E::NotAUrl),
        ("https:///", E::NotAUrl),
        ("https://exa mple.com/", E::NotAUrl),
        ("https://example.com/\n", E::NotAUrl),
        ("https://user@example.com/", E::UserInfo),
        ("https://user:pw@example.com/", E::UserInfo),
        ("https://@example.com/", E::UserInfo),
        ("https://example.com@127.0.0.1/", E::UserInfo),
        ("https://example.com/#x", E::Fragment),
        ("https://example.com:22/", E::Port),
        ("https://example.com:0/", E::Port),
        ("https://example.com:8080/", E::Port),
        ("https://localhost/", E::Address),
        ("https://LOCALHOST./", E::Address),
        ("https://a.localhost/", E::Address),
        ("https://intranet/", E::Address),
        ("https://metadata.google.internal/", E::Address),
        ("https://127.0.0.1/", E::Address),
        ("https://127.1/", E::Address),
        ("https://2130706433/", E::Address),
        ("https://0x7f000001/", E::Address),
        ("https://0177.0.0.1/", E::Address),
        ("https://0x7f.1/", E::Address),
        ("https://１２７.0.0.1/", E::Address),
        ("https://10.0.0.1/", E::Address),
        ("https://172.16.0.1/", E::Address),
        ("https://172.31.255.255/", E::Address),
        ("https://192.168.1.1/", E::Address),
        ("https://100.64.0.1/", E::Address),
        ("https://169.254.169.254/latest/meta-data/", E::Address),
        ("https://100.100.100.200/", E::Address),
        ("https://168.63.129.16/", E::Address),
        ("https://0.0.0.0/", E::Address),
        ("https://0.1.2.3/", E::Address),
        ("https://192.0.0.1/", E::Address),
        ("https://192.0.2.1/", E::Address),
        ("https://192.88.99.1/", E::Address),
        ("https://198.18.0.1/", E::Address),
        ("https://198.19.255.255/", E::Address),
        ("https://198.51.100.1/", E::Address),
        ("https://203.0.113.1/", E::Address),
        ("https://224.0.0.1/", E::Address),
        ("https://240.0.0.1/", E::Address),
        ("https://255.255.255.255/", E::Address),
        ("https://[::]/", E::Address),
        ("https://[::1]/", E::Address),
        ("https://[::127.0.0.1]/", E::Address),
        ("https://[::ffff:127.0.0.1]/", E::Address),
        ("https://[::ffff:a9fe:a9fe]/", E::Address),
        ("https://[fe80::1]/", E::Address),
        ("https://[fec0::1]/", E::Address),
        ("https://[fc00::1]/", E::Address),
        ("https://[fd00:ec2::254]/", E::Address),
        ("https://[ff02::1]/", E::Address),
        ("https://[64:ff9b::7f00:1]/", E::Address),
        ("https://[64:ff9b:1::1]/", E::Address),
        ("https://[100::1]/", E::Address),
        ("https://[2001::1]/", E::Address),
        ("https://[2001:db8::1]/", E::Address),
        ("https://[2002:7f00:1::]/", E::Address),
        ("https://[3fff::1]/", E::Address),
        ("https://[5f00::1]/", E::Address),
    ] {
        assert_eq!(WebhookTarget::parse(url, &public()).err(), Some(error), "{url}");
    }
    let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
    assert_eq!(WebhookTarget::parse(&long, &public()).err(), Some(E::TooLong));
}

#[test]
fn targets_that_are_good() {
    for url in [
        "https://example.com/hook?token=1",
        "https://example.com:8443/hook",
        "https://EXAMPLE.com./",
        "https://8.8.8.8/",
        "https://172.32.0.1/",
        "https://100.128.0.1/",
        "https://[2606:4700::1111]/",
        "https://[::ffff:8.8.8.8]/",
        "https://example.com/a@b",
    ] {
        assert!(WebhookTarget::parse(url, &public()).is_ok(), "{url}");
    }
    let target = WebhookTarget::parse("https://example.com/hook?token=secret", &public()).unwrap();
    assert_eq!(target.without_query(), "https://example.com/hook");
    assert_eq!(target.path_and_query(), "/hook?token=secret");
    assert!(!format!("{target:?}").contains("secret"));
}

// S311: what leads nowhere good is refused even where private networks are allowed.
#[test]
fn private_targets_are_allowed_where_the_configuration_says_so() {
    for url in
        ["http://127.0.0.1:8080/", "http://10.0.0.1/", "https://intranet/", "http://[::1]:1/", "https://[fc00::1]/"]
    {
        assert!(WebhookTarget::parse(url, &private()).is_ok(), "{url}");
    }
    for url in [
        "http://169.254.169.254/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[64:ff9b::a00:1]/",
        "http://metadata.google.internal/",
        "http://100.100.100.200/",
    ] {
        assert_eq!(WebhookTarget::parse(url, &private()).err(), Some(TargetError::Address), "{url}");
    }
    let house = TargetRules { allowed_networks: vec!["10.1.0.0/16".parse().unwrap()], ..public() };
    assert!(WebhookTarget::parse("https://10.1.2.3/", &house).is_ok());
    assert!(WebhookTarget::parse("https://[::ffff:10.1.2.3]/", &house).is_ok());
    assert!(WebhookTarget::parse("https://10.2.0.1/", &house).is_err());
    assert!(WebhookTarget::parse("http://10.1.2.3/", &house).is_err());
}

#[test]
fn names_of_events_are_read_back() {
    assert_eq!(WebhookEvent::subscribable().count(), 11);
    for event in WebhookEvent::subscribable() {
        assert_eq!(WebhookEvent::parse(event.as_str()), Some(event));
    }
    assert_eq!(WebhookEvent::parse("*"), None);
}
