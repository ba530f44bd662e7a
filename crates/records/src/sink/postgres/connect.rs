//! From an address to a connection: `postgres://…` or `host=… user=…`, TLS as `sslmode` says.
//!
//! | `sslmode` | TLS | the server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` (default), `allow` | when the server offers it | not checked |
//! | `require` | always | not checked, as PostgreSQL's own clients do |
//! | `verify-full`, `verify-ca` | always | by `sslrootcert`, else by the system's; the name must match |

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Failure;
use crate::sink::SinkError;

/// How long to wait for a server that does not answer, unless the address says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may say nothing before it is asked whether it is still there, unless the address says otherwise.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long sent data may stay unacknowledged before the connection counts as broken.
const USER_TIMEOUT: Duration = Duration::from_mins(1);

/// Where system certificates are: Debian, Fedora, Alpine and macOS.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What a session must have so that texts of values do not depend on the server's settings, that no lock is waited for
/// without end, and that a commit which was answered is durable.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres';
    SET extra_float_digits = 1; SET bytea_output = 'hex'; SET standard_conforming_strings = on;
    SET client_min_messages = warning; SET lock_timeout = '60s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// A server that can be connected to.
pub(super) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Server {
    /// Reads an address. `sink` is what errors are told of.
    pub(super) fn parse(address: &str, sink: &str) -> Result<Self, SinkError> {
        let refused = |error: String, help: &str| SinkError::Refused {
            sink: sink.to_owned(),
            error,
            help: Some(help.to_owned()),
        };
        let (address, tls) = take_tls(address);
        let mut config: Config = address.parse().map_err(|error: tokio_postgres::Error| {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
            refused(format!("{error}{why}"), "write `postgres://USER:PASSWORD@HOST:PORT/DATABASE`")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(USER_TIMEOUT);
        }
        // A server that is gone says nothing more; whoever waits for its answer is not asked whether to stop.
        if !address.contains("keepalives_idle") {
            config.keepalives_idle(KEEPALIVE);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(KEEPALIVE / 3);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(3);
        }
        if config.get_application_name().is_none() {
            config.application_name("cairn");
        }
        let tls = client_config(&tls).map_err(|error| refused(error, "name a PEM file in `sslrootcert`"))?;
        Ok(Self { config, tls: MakeRustlsConnect::new(tls) })
    }

    /// Returns host and database, without user and password.
    pub(super) fn place(&self) -> String {
        let host = match (self.config.get_hosts().first(), self.config.get_hostaddrs().first()) {
            (Some(Host::Tcp(name)), _) => name.clone(),
            (Some(Host::Unix(path)), _) => path.display().to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "localhost".to_owned(),
        };
        let port = self.config.get_ports().first().filter(|port| **port != 5432);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let database = self.config.get_dbname().map(|name| format!("/{name}")).unwrap_or_default();
        format!("{host}{port}{database}")
    }

    /// Connects; the connection's own work is done by a task of the current runtime.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Whoever waits for an answer gets an error of its own.
                tracing::debug!(%error, "a connection to PostgreSQL broke");
            }
        });
        client.batch_execute(SETTINGS).await?;
        Ok(client)
    }
}

/// How the server's certificate is checked.
#[derive(Debug, PartialEq, Eq)]
enum Check {
    No,
    /// Against the certificates of this file, else the system's.
    Full(Option<String>),
}

/// Takes out of an address what [`Config`] does not know; returns the rest, and what it said.
fn take_tls(address: &str) -> (String, Check) {
    let (mut verify, mut roots) = (false, None);
    let mut keep = |option: &str| -> Option<String> {
        match option.split_once('=') {
            Some(("sslmode", "verify-full" | "verify-ca")) => {
                verify = true;
                Some("sslmode=require".to_owned())
            }
            Some(("sslmode", "allow")) => Some("sslmode=prefer".to_owned()),
            Some(("sslrootcert", path)) => {
                roots =
                    Some(path.trim_matches('\'').replace("%2F", "/").replace("%2f", "/").replace("%20", " "));
                None
            }
            _ => Some(option.to_owned()),
        }
    };
    let is_url = address.starts_with("postgres://") || address.starts_with("postgresql://");
    let rest = if is_url {
        match address.split_once('?') {
            None => address.to_owned(),
            Some((place, options)) => {
                let options: Vec<String> = options.split('&').filter_map(&mut keep).collect();
                if options.is_empty() { place.to_owned() } else { format!("{place}?{}", options.join("&")) }
            }
        }
    } else if address.contains("sslmode=") || address.contains("sslrootcert=") {
        address.split(' ').filter_map(&mut keep).collect::<Vec<_>>().join(" ")
    } else {
        address.to_owned()
    };
    (rest, if verify { Check::Full(roots.filter(|path| path != "system")) } else { Check::No })
}

fn client_config(check: &Check) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the versions that are compiled in");
    let config = match check {
        Check::No => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        Check::Full(file) => {
            let file = file
                .as_deref()
                .or_else(|| SYSTEM_ROOTS.into_iter().find(|path| Path::new(path).is_file()))
                .ok_or("the system's certificates were not found")?;
            let mut roots = RootCertStore::empty();
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| format!("`{file}`: {error}"))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| format!("`{file}`: {error}"))?;
                // Old roots of a system's bundle that cannot be read do no harm.
                let _ = roots.add(certificate);
            }
            if roots.is_empty() {
                return Err(format!("`{file}` has no certificate"));
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(config.with_no_client_auth())
}

/// Takes any certificate: traffic is encrypted, who answers is not proven.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_how_to_check_is_taken_out() {
        let full = |path: &str| Check::Full(Some(path.to_owned()));
        for (address, rest, check) in [
            ("postgres://u@h/d", "postgres://u@h/d", Check::No),
            ("postgres://u@h/d?sslmode=require", "postgres://u@h/d?sslmode=require", Check::No),
            (
                "postgres://u@h/d?sslmode=verify-full&sslrootcert=%2Fa.pem",
                "postgres://u@h/d?sslmode=require",
                full("/a.pem"),
            ),
            (
                "host=h sslmode=verify-ca sslrootcert=/a.pem user=u",
                "host=h sslmode=require user=u",
                full("/a.pem"),
            ),
            ("host=h sslmode=verify-full sslrootcert=system", "host=h sslmode=require", Check::Full(None)),
        ] {
            assert_eq!(take_tls(address), (rest.to_owned(), check), "{address}");
        }
    }

    #[test]
    fn a_place_tells_no_password() {
        let place = |address: &str| Server::parse(address, "s").map(|server| server.place()).unwrap();
        assert_eq!(place("postgres://ada:secret@db.example:6000/shop"), "db.example:6000/shop");
        assert_eq!(place("host=/run/pg user=ada password=secret dbname=shop"), "/run/pg/shop");
        for bad in
            ["postgres://ada:secret@h:port/d", "user=ada password=secret nonsense", "password=secret x=1"]
        {
            let error = Server::parse(bad, "s").err().unwrap();
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
