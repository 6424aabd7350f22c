//! A film at which a device failed is planned again, for the processor: all its chunks are made by one encoder.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::queue::{Job, Outcome, Record};

struct PlanAgain {
    content_id: Uuid,
    reason: String,
}

/// The end of a chunk that a device could not make.
pub(super) fn plan_again(content_id: Uuid, reason: String) -> Outcome {
    let result = json!({"plannedAgain": reason});
    Outcome { result, record: Some(Box::new(PlanAgain { content_id, reason })) }
}

impl Record for PlanAgain {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                (&job.id, Type::INT8),
                (&job.attempt, Type::INT4),
                (&self.content_id, Type::UUID),
                (&self.reason, Type::TEXT),
            ];
            let sql = "SELECT nebula.plan_in_software($1, $2, $3, $4)";
            transaction.query_typed(sql, &parameters).await.map(drop)
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}
