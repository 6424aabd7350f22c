//! A proxy that lets the gateway do what it is asked for and loses the answers to `POST /api/peers`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use anyhow::Result;
use nebula_tests::stack::Stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers to lose from now on, and those that were lost.
#[derive(Default)]
struct Counts {
    left: AtomicU32,
    lost: AtomicU32,
}

pub(crate) struct LosingProxy {
    pub(crate) url: String,
    counts: Arc<Counts>,
}

impl LosingProxy {
    /// Loses the first answers.
    pub(crate) async fn start(stack: &Stack, answers: u32) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let gateway = stack.url().trim_start_matches("http://").to_owned();
        let counts = Arc::new(Counts { left: answers.into(), lost: 0.into() });
        let shared = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (gateway, counts) = (gateway.clone(), Arc::clone(&shared));
                // A client that goes away ends its connection.
                tokio::spawn(async move { forward(client, &gateway, &counts).await });
            }
        });
        Ok(Self { url, counts })
    }

    pub(crate) fn lose(&self, answers: u32) {
        self.counts.left.store(answers, SeqCst);
    }

    pub(crate) fn lost(&self) -> u32 {
        self.counts.lost.load(SeqCst)
    }
}

/// Carries bytes both ways until the answer that is to be lost has come; then nothing more goes to the client.
async fn forward(mut client: TcpStream, gateway: &str, counts: &Counts) -> std::io::Result<()> {
    let mut gateway = TcpStream::connect(gateway).await?;
    let (mut from_client, mut from_gateway) = (vec![0; 65536], vec![0; 65536]);
    let mut creates = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                let request = &from_client[..read];
                creates |= request.starts_with(b"POST /api/peers ");
                gateway.write_all(request).await?;
            }
            read = gateway.read(&mut from_gateway) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                let less = |left: u32| left.checked_sub(1);
                if std::mem::take(&mut creates) && counts.left.fetch_update(SeqCst, SeqCst, less).is_ok() {
                    counts.lost.fetch_add(1, SeqCst);
                    return Ok(());
                }
                client.write_all(&from_gateway[..read]).await?;
            }
        }
    }
}
