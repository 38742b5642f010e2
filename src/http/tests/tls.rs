//! Certificates are verified.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::server::{accept, answering, read, response};
use super::*;
use crate::http::network::{System, tls_trusting};

/// A server whose certificate is for `names`, signed by nobody.
fn secure(names: &[&str]) -> (SocketAddr, CertificateDer<'static>) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()),
        )
        .unwrap();
    let config = Arc::new(config);
    let address = accept(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while let Some(request) = read(&mut stream) {
            if stream
                .write_all(response(200, "", &request.body).as_bytes())
                .is_err()
            {
                return;
            }
        }
    });
    (address, cert.der().clone())
}

fn trusting(certificate: CertificateDer<'static>) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    Client::start_in(
        settings("127.0.0.1, localhost"),
        Arc::new(System),
        tls_trusting(roots).unwrap(),
    )
    .unwrap()
}

#[test]
fn a_certificate_that_nobody_signed_is_refused() {
    let (address, _) = secure(&["localhost", "127.0.0.1"]);
    let (_, other) = secure(&["localhost", "127.0.0.1"]);
    for mut client in [local(), trusting(other)] {
        for host in ["localhost", "127.0.0.1"] {
            let (message, retryable, _) = failure(ask(
                &mut client,
                &format!("https://{host}:{}/", address.port()),
            ));
            assert!(message.contains("invalid peer certificate"), "{message}");
            assert!(retryable);
        }
    }
}

#[test]
fn a_certificate_that_is_trusted_is_for_its_names_only() {
    let (address, certificate) = secure(&["localhost"]);
    let mut client = trusting(certificate);
    let answer = ask(
        &mut client,
        &format!("https://localhost:{}/", address.port()),
    );
    assert_eq!(answer, Answer::Output(r#"{"input": 1}"#.to_owned()));
    let (message, _, _) = failure(ask(&mut client, &format!("https://{address}/")));
    assert!(
        message.contains("certificate not valid for name"),
        "{message}"
    );
    let (address, certificate) = secure(&["127.0.0.1"]);
    let mut client = trusting(certificate);
    let answer = ask(&mut client, &format!("https://{address}/"));
    assert_eq!(answer, Answer::Output(r#"{"input": 1}"#.to_owned()));
}

#[test]
fn there_is_no_way_back_to_plain_text() {
    let address = answering(200, "", "");
    let (message, retryable, _) = failure(ask(&mut local(), &format!("https://{address}/")));
    assert!(
        message.starts_with("cannot connect to 127.0.0.1: ") && retryable,
        "{message}"
    );
}
