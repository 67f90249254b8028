//! The road between a byte stream and rmcp: bounded lines in, whole lines out.
//!
//! rmcp starts every request that it receives, so what a caller may have open at once is counted
//! here, before rmcp sees the next one (invariant I-9). A cancelled request is answered by nobody,
//! and counts until its work has ended. A second task writes, so that no answer can be cut by the
//! next question.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, GetExtensions, GetMeta, JsonRpcMessage,
    ProtocolVersion, RequestId,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::budget::{Allowance, Held};
use super::lines::{Line, Lines};
use super::session::Session;
use super::wire::{self, Checked};
use crate::call::CallError;
use crate::call::rate::RateLimit;

/// Requests of one connection that are worked on at once; more wait.
pub(super) const OPEN_MAX: usize = 64;

/// Pings beside them.
const PINGS_MORE: usize = 8;

/// Reads of whole artifacts that are worked on at once: each holds some megabytes.
const READS_MAX: usize = 4;

/// Pings, lists and other small requests of one connection in a minute. Tool calls and reads are
/// counted for their caller, by policy; these cost little, and a client that keeps its connection
/// alive or looks again and again sends few of them.
const SMALL_PER_MINUTE: u64 = 6_000;

/// Requests that were read and wait for their turn; more stay in the socket. They are read so
/// that a cancellation which stands behind them is seen.
const WAITING_MAX: usize = 64;

/// Ids of cancelled requests that are remembered, because their late answers must not be taken
/// for those of a request that uses the id again.
const CANCELLED_MAX: usize = 256;

/// Lines that wait for the peer to read them.
const OUTGOING_MAX: usize = 64;

/// How long open requests may go on after the peer has said its last word. Somebody who pipes
/// requests in gets their answers; somebody who went away does not hold anything for long.
const DRAIN: Duration = Duration::from_secs(5);

/// One connection as rmcp's transport.
pub struct Wire<R> {
    lines: Lines<R>,
    session: Arc<Session>,
    outgoing: Option<mpsc::Sender<Outgoing>>,
    writer: Option<JoinHandle<()>>,
    /// What requests may weigh that are not answered, and answers that are not written.
    requests: Allowance,
    answers: Allowance,
    small: RateLimit,
    /// Refusals that are not sent yet.
    refusals: VecDeque<String>,
    waiting: VecDeque<Waiting>,
    notifications: VecDeque<ClientJsonRpcMessage>,
    open: Arc<Open>,
    cancelled: VecDeque<RequestId>,
    /// rmcp has left its handshake, in which a notification would end the session.
    settled: bool,
    /// Since the end of input: until when answers are waited for.
    ending: Option<Instant>,
}

/// A request that was read and waits for its turn.
struct Waiting {
    id: RequestId,
    message: ClientJsonRpcMessage,
    weight: Held,
}

/// A line for the peer, and what it weighs until it is written. What is no answer weighs nothing:
/// there are never more of them than [`OUTGOING_MAX`], and they are short.
struct Outgoing {
    line: Vec<u8>,
    _weight: Option<Held>,
}

/// The requests that rmcp has and has not answered.
#[derive(Default)]
struct Open {
    ids: Mutex<HashMap<RequestId, Arc<Place>>>,
    counts: Arc<Counts>,
}

/// Places that are taken.
#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    reads: AtomicUsize,
    changed: Notify,
}

/// What a request holds from when it is begun until it is answered and its work has ended: its
/// place among so many, and its bytes. The work carries it along in the request's extensions.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<Counts>,
    is_read: bool,
    weight: Option<Held>,
}

impl Place {
    fn take(counts: &Arc<Counts>, is_read: bool, weight: Held) -> Arc<Self> {
        counts.all.fetch_add(1, Ordering::SeqCst);
        counts.reads.fetch_add(usize::from(is_read), Ordering::SeqCst);
        Arc::new(Self { counts: Arc::clone(counts), is_read, weight: Some(weight) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.all.fetch_sub(1, Ordering::SeqCst);
        self.counts.reads.fetch_sub(usize::from(self.is_read), Ordering::SeqCst);
        // Before anybody is woken, who else may look for the room and find it taken still.
        drop(self.weight.take());
        self.counts.changed.notify_one();
    }
}

impl Open {
    fn ids(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<Place>>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, id: &RequestId) {
        self.ids().remove(id);
        self.counts.changed.notify_one();
    }
}

impl<R: AsyncRead + Unpin + Send> Wire<R> {
    /// Starts the writing half; it ends with the transport.
    pub fn new(read: R, write: impl AsyncWrite + Unpin + Send + 'static, session: Arc<Session>) -> Self {
        let (outgoing, to_write) = mpsc::channel(OUTGOING_MAX);
        let writer = tokio::spawn(write_lines(write, to_write, Arc::clone(&session)));
        Self {
            lines: Lines::new(read, wire::LINE_BYTES_MAX),
            requests: session.budget().of_requests(),
            answers: session.budget().of_answers(),
            small: RateLimit::default(),
            session,
            outgoing: Some(outgoing),
            writer: Some(writer),
            refusals: VecDeque::new(),
            waiting: VecDeque::new(),
            notifications: VecDeque::new(),
            open: Arc::default(),
            cancelled: VecDeque::new(),
            settled: false,
            ending: None,
        }
    }

    /// Sends what is refused. Cancel-safe: a line is either queued for the writer or kept.
    async fn send_refusals(&mut self) -> Option<()> {
        while !self.refusals.is_empty() {
            let permit = self.outgoing.as_ref()?.reserve().await.ok()?;
            if let Some(line) = self.refusals.pop_front() {
                permit.send(Outgoing::of(line.into_bytes(), None));
            }
        }
        Some(())
    }

    fn take(&mut self, line: &[u8]) {
        match wire::check(line) {
            Checked::Request(id, message) => self.take_request(id, *message, wire::weight(line)),
            Checked::Notification(message) => self.take_notification(*message),
            Checked::Relay => self.session.now_relayed(),
            Checked::Refused(answer) => self.refusals.push_back(answer),
            Checked::Nothing => {}
        }
    }

    fn take_request(&mut self, id: RequestId, message: ClientJsonRpcMessage, weight: usize) {
        let in_use = self.open.ids().contains_key(&id)
            || self.cancelled.contains(&id)
            || self.waiting.iter().any(|waiting| waiting.id == id);
        if in_use {
            self.refusals.push_back(wire::id_in_use());
            return;
        }
        if !is_counted_by_policy(&message)
            && let Err(CallError::Busy { retry_after_ms, .. }) =
                self.small.admit("connection", SMALL_PER_MINUTE, "small requests")
        {
            self.refusals.push_back(wire::too_many(&id, SMALL_PER_MINUTE, retry_after_ms));
            return;
        }
        match self.requests.hold(weight) {
            Some(weight) => self.waiting.push_back(Waiting { id, message, weight }),
            None => self.refusals.push_back(wire::no_room(&id)),
        }
    }

    fn take_notification(&mut self, message: ClientJsonRpcMessage) {
        if !self.settled {
            tracing::debug!("a notification before the first request is ignored");
            return;
        }
        if let Some(id) = cancelled_id(&message) {
            if let Some(place) = self.waiting.iter().position(|waiting| waiting.id == id) {
                self.waiting.remove(place);
                return;
            }
            if !self.open.ids().contains_key(&id) {
                return;
            }
            self.cancelled.push_back(id.clone());
            if self.cancelled.len() > CANCELLED_MAX {
                self.cancelled.pop_front();
            }
            // rmcp sends no answer to a cancelled request. Its work keeps its place.
            self.open.close(&id);
        }
        self.notifications.push_back(message);
    }

    /// The next message for rmcp, if there is one and room for it.
    fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        if let Some(message) = self.notifications.pop_front() {
            return Some(message);
        }
        let counts = &self.open.counts;
        let taken = counts.all.load(Ordering::SeqCst);
        let (is_full, may_ping) = (taken >= OPEN_MAX, taken < OPEN_MAX + PINGS_MORE);
        let may_read = counts.reads.load(Ordering::SeqCst) < READS_MAX;
        // A client that waits for many runs still has to hear that somebody is there.
        let may =
            |message| if is_full { may_ping && is_ping(message) } else { may_read || !is_read(message) };
        let at = self.waiting.iter().position(|waiting| may(&waiting.message))?;
        let Waiting { id, mut message, weight } = self.waiting.remove(at)?;
        let place = Place::take(counts, is_read(&message), weight);
        carry(&mut message, &place);
        self.open.ids().insert(id, place);
        self.settled |= settles(&message);
        Some(message)
    }

    /// Whether one more line may be read: it has a place to wait, however much it weighs.
    fn may_read(&self) -> bool {
        self.waiting.len() < WAITING_MAX && self.requests.has_room_for(wire::WEIGHT_MAX)
    }

    /// After the end of input: `None` once everything is answered, or for too long not.
    async fn drained(&mut self, until: Instant) -> Option<()> {
        if self.waiting.is_empty() && self.open.ids().is_empty() {
            return None;
        }
        tokio::select! {
            () = self.open.counts.changed.notified() => Some(()),
            () = self.session.gone.cancelled() => None,
            () = tokio::time::sleep_until(until) => {
                self.session.gone.cancel();
                None
            }
        }
    }
}

impl<R: AsyncRead + Unpin + Send> Transport<RoleServer> for Wire<R> {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let (outgoing, open, answers) = (self.outgoing.clone(), Arc::clone(&self.open), self.answers.clone());
        async move {
            let answered = match &item {
                JsonRpcMessage::Response(response) => Some(response.id.clone()),
                JsonRpcMessage::Error(error) => error.id.clone(),
                JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
            };
            let line = serde_json::to_vec(&item).map_err(io::Error::other);
            drop(item);
            let sent = match (line, outgoing) {
                (Ok(line), Some(outgoing)) => {
                    let line = Outgoing::within(&answers, line, answered.as_ref());
                    outgoing.send(line).await.map_err(|_closed| io::ErrorKind::BrokenPipe.into())
                }
                (Err(error), _) => Err(error),
                (_, None) => Err(io::ErrorKind::BrokenPipe.into()),
            };
            if let Some(id) = answered {
                open.close(&id);
            }
            sent
        }
    }

    /// Cancel-safe: what was read and is not yet handed over is kept in `self`.
    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            self.send_refusals().await?;
            if let Some(message) = self.next() {
                return Some(message);
            }
            if let Some(until) = self.ending {
                self.drained(until).await?;
                continue;
            }
            let may_read = self.may_read();
            let line = tokio::select! {
                line = self.lines.next(), if may_read => line,
                () = self.open.counts.changed.notified() => continue,
                () = self.session.gone.cancelled() => return None,
            };
            match line {
                Ok(Some(Line::Whole(line))) => self.take(&line),
                Ok(Some(Line::TooLong)) => self.refusals.push_back(wire::too_long()),
                Ok(None) => {
                    self.session.ended.cancel();
                    self.ending = Some(Instant::now() + DRAIN);
                }
                Err(error) => {
                    tracing::debug!(%error, "the connection broke");
                    self.session.gone.cancel();
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.outgoing = None;
        if let Some(writer) = self.writer.take() {
            // A peer that does not read holds nobody up but itself.
            let _written_or_given_up = tokio::time::timeout(DRAIN, writer).await.is_ok();
        }
        Ok(())
    }
}

impl Outgoing {
    fn of(mut line: Vec<u8>, weight: Option<Held>) -> Self {
        line.push(b'\n');
        Self { line, _weight: weight }
    }

    /// An answer within what may wait for this peer; one for which there is no room becomes a
    /// short one that says so.
    fn within(answers: &Allowance, line: Vec<u8>, answered: Option<&RequestId>) -> Self {
        let Some(id) = answered else { return Self::of(line, None) };
        match answers.hold(line.len()) {
            Some(weight) => Self::of(line, Some(weight)),
            None => Self::of(wire::not_kept(id).into_bytes(), None),
        }
    }
}

async fn write_lines(
    mut write: impl AsyncWrite + Unpin,
    mut lines: mpsc::Receiver<Outgoing>,
    session: Arc<Session>,
) {
    while let Some(outgoing) = lines.recv().await {
        if let Err(error) = write.write_all(&outgoing.line).await {
            tracing::debug!(%error, "the peer reads no longer");
            session.gone.cancel();
            return;
        }
    }
    if let Err(error) = write.shutdown().await {
        tracing::debug!(%error, "the peer was gone before the end");
    }
}

fn cancelled_id(message: &ClientJsonRpcMessage) -> Option<RequestId> {
    let JsonRpcMessage::Notification(notification) = message else { return None };
    let ClientNotification::CancelledNotification(cancelled) = &notification.notification else {
        return None;
    };
    cancelled.params.request_id.clone()
}

fn is_ping(message: &ClientJsonRpcMessage) -> bool {
    let JsonRpcMessage::Request(request) = message else { return false };
    matches!(request.request, ClientRequest::PingRequest(_))
}

fn is_read(message: &ClientJsonRpcMessage) -> bool {
    let JsonRpcMessage::Request(request) = message else { return false };
    matches!(request.request, ClientRequest::ReadResourceRequest(_))
}

/// Requests that do work: they are counted for their caller, and may go on without it.
fn is_counted_by_policy(message: &ClientJsonRpcMessage) -> bool {
    let JsonRpcMessage::Request(request) = message else { return false };
    matches!(
        request.request,
        ClientRequest::CallToolRequest(_)
            | ClientRequest::ReadResourceRequest(_)
            | ClientRequest::ListResourcesRequest(_)
    )
}

/// Gives its place to the work of a request.
fn carry(message: &mut ClientJsonRpcMessage, place: &Arc<Place>) {
    if is_counted_by_policy(message)
        && let JsonRpcMessage::Request(request) = message
    {
        request.request.extensions_mut().insert(Arc::clone(place));
    }
}

/// Whether rmcp leaves its handshake with this request: an `initialize`, or any other than ping
/// and discover that says for itself which version it speaks.
fn settles(message: &ClientJsonRpcMessage) -> bool {
    let JsonRpcMessage::Request(request) = message else { return false };
    match &request.request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        other => {
            let meta = other.get_meta();
            let known = meta
                .protocol_version()
                .is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version));
            known && meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
        }
    }
}
