//! The request that a statement is run for: its identifier and the address of its client, which the database records
//! with what the statement changes.
//!
//! Both are sent in the same value as the token of `nebula.actor`. So each statement has its own, even behind a pooler and
//! where one transaction serves several requests.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type};

tokio::task_local! {
    /// The request that this task answers. Tasks that it starts have none: they take the account along, which has it.
    static CURRENT: Origin;
}

/// A request to this gateway.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    request_id: Arc<str>,
    client: Option<IpAddr>,
}

impl Origin {
    pub(crate) fn new(request_id: &str, client: Option<IpAddr>) -> Self {
        Self { request_id: request_id.into(), client }
    }

    /// Runs what answers the request.
    pub(crate) async fn run<F: Future>(self, answer: F) -> F::Output {
        CURRENT.scope(self, answer).await
    }

    /// The request that this task answers, if it does.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// `X-Request-Id`.
    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// Writes a token as a value of a statement, with the request behind it.
pub(super) fn write(
    token: &str,
    origin: Option<&Origin>,
    ty: &Type,
    out: &mut BytesMut,
) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
    let Some(Origin { request_id, client }) = origin else { return token.to_sql(ty, out) };
    let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    format!("{token} {request_id} {client}").to_sql(ty, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(origin: Option<&Origin>) -> String {
        let mut out = BytesMut::new();
        write("token", origin, &Type::TEXT, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[actix_web::test]
    async fn a_statement_brings_the_request_of_its_own_task() {
        assert_eq!(written(Origin::current().as_ref()), "token");
        let client = "2001:db8::1".parse().ok();
        let inside = Origin::new("0198c0de", client).run(async {
            let kept = Origin::current();
            let elsewhere = tokio::task::spawn_local(async { Origin::current().is_none() });
            (written(kept.as_ref()), elsewhere.await.unwrap())
        });
        assert_eq!(inside.await, ("token 0198c0de 2001:db8::1".to_owned(), true));
        assert_eq!(written(Some(&Origin::new("0198c0de", None))), "token 0198c0de -");
    }
}
