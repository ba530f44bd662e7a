//! Lineage as `OpenLineage` has it (spec 2-0-2): a run of a pipeline is a run of a job, files with their digests are its
//! datasets. An event is written into the store in the batch that begins or settles the run, and delivered from there by
//! `outbox`.
//!
//! Datasets are named as the spec says for files: namespace `file`, name the absolute path; their version is the digest of
//! their content.
#![allow(clippy::doc_markdown, reason = "OpenLineage is a name, not an item")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cairn_model::{Digest, Outcome, RunId, RunStatus, Timestamp, Value, decode};
use cairn_scheduler::history::History;
use cairn_store::{Batch, Message, ReadError, Recipient, RunRecord, Ticket};
use serde_json::{Value as Json, json};

use crate::api::rfc3339;
use crate::daemon::Daemon;

/// Who keeps the lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Where events go.
    pub to: LineageTo,
    /// The namespace of the jobs.
    pub namespace: String,
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineageTo {
    /// A file, an event a line.
    File(PathBuf),
    /// An address that they are posted to.
    Url(String),
}

const PRODUCER: &str = concat!("urn:cairn:", env!("CARGO_PKG_VERSION"));
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// What an event says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    /// It goes on, after it was cut off or had failed.
    Running,
    Complete,
    Fail,
    Abort,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Running => "RUNNING",
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
            Self::Abort => "ABORT",
        }
    }
}

impl Daemon {
    /// Enters in a batch that a run begins, or goes on.
    pub(crate) fn lineage_of_start(
        &self,
        batch: &mut Batch,
        run: RunId,
        ticket: &Ticket,
        again: bool,
        now: Timestamp,
    ) {
        let Some(lineage) = &self.lineage else { return };
        let kind = if again { Kind::Running } else { Kind::Start };
        let event = event(lineage, kind, run, (ticket.pipeline.as_str(), ticket.logical_time), None, now);
        put(batch, run, kind, &event, now);
    }

    /// Enters in a batch how a run ended, with what it read and made.
    pub(crate) fn lineage_of_end(
        &self,
        batch: &mut Batch,
        run: RunId,
        record: &RunRecord,
        ticket: &Ticket,
        now: Timestamp,
    ) -> Result<(), ReadError> {
        let Some(lineage) = &self.lineage else { return Ok(()) };
        let kind = match record.status {
            RunStatus::Succeeded => Kind::Complete,
            RunStatus::Failed | RunStatus::InDoubt => Kind::Fail,
            RunStatus::Interrupted | RunStatus::Frozen | RunStatus::Running => Kind::Abort,
        };
        let history = History::of(self.store.events(run)?.iter().map(|(_, event)| event));
        let folder = self.root.join(&record.file).parent().map_or_else(|| self.root.clone(), Path::to_owned);
        let (mut inputs, mut outputs) = (BTreeMap::new(), BTreeMap::new());
        for instance in &history.instances {
            let is_done = instance.state.outcome().is_some_and(Outcome::is_done);
            let Some(hash) = instance.input_hash.filter(|_| is_done) else { continue };
            let Some((checkpoint, _)) = self.store.recorded(&hash)? else { continue };
            for (path, digest) in files_read(&checkpoint.preimage) {
                inputs.insert(folder.join(path).display().to_string(), digest);
            }
            for output in &checkpoint.manifest.outputs {
                let path = output.path.below(&folder).display().to_string();
                outputs.insert(path, output.content.digest());
            }
        }
        // What the run itself made is no input of it.
        inputs.retain(|path, _| !outputs.contains_key(path));
        let failed = history.ended_as(Outcome::Failed).next();
        let error = ticket
            .error
            .clone()
            .or_else(|| failed.map(|instance| format!("{}: {}", instance.name, instance.reason)));
        let of = (ticket.pipeline.as_str(), ticket.logical_time);
        let mut event = event(lineage, kind, run, of, error.as_deref(), now);
        event["inputs"] = inputs.iter().map(|(path, digest)| dataset(path, digest)).collect();
        event["outputs"] = outputs.iter().map(|(path, digest)| dataset(path, digest)).collect();
        put(batch, run, kind, &event, now);
        Ok(())
    }
}

fn put(batch: &mut Batch, run: RunId, kind: Kind, event: &Json, now: Timestamp) {
    batch.put_message(&Message {
        to: Recipient::Lineage,
        key: format!("{run}/{}/{}", kind.as_str(), now.0),
        body: event.to_string().into_bytes(),
        made: now,
        tries: 0,
        not_before: now,
        error: None,
    });
}

/// A facet names who made it, and its schema, which does not change.
fn facet(schema: &str, mut of: Json) -> Json {
    of["_producer"] = PRODUCER.into();
    of["_schemaURL"] = format!("https://openlineage.io/spec/facets/{schema}").into();
    of
}

fn event(
    lineage: &Lineage,
    kind: Kind,
    run: RunId,
    (pipeline, logical_time): (&str, Timestamp),
    error: Option<&str>,
    now: Timestamp,
) -> Json {
    let mut facets = json!({
        "nominalTime": facet(
            "1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet",
            json!({ "nominalStartTime": rfc3339(logical_time) }),
        ),
        "processing_engine": facet(
            "1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
            json!({ "name": "cairn", "version": env!("CARGO_PKG_VERSION") }),
        ),
    });
    if let Some(error) = error.filter(|_| kind == Kind::Fail) {
        facets["errorMessage"] = facet(
            "1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
            json!({ "message": error, "programmingLanguage": "shell" }),
        );
    }
    let job = facet(
        "2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
        json!({ "processingType": "BATCH", "integration": "CAIRN", "jobType": "PIPELINE" }),
    );
    json!({
        "eventType": kind.as_str(),
        "eventTime": rfc3339(now),
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": { "runId": run.to_string(), "facets": facets },
        "job": { "namespace": lineage.namespace, "name": pipeline, "facets": { "jobType": job } },
        "inputs": [],
        "outputs": [],
    })
}

fn dataset(path: &str, digest: &Digest) -> Json {
    let version = facet(
        "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
        json!({ "datasetVersion": digest.to_string() }),
    );
    json!({ "namespace": "file", "name": path, "facets": { "version": version } })
}

/// Returns the files and folders that an execution read, from what its input-hash was made of.
fn files_read(preimage: &[u8]) -> Vec<(String, Digest)> {
    let parts = decode(preimage).unwrap_or_default();
    let file = |part: &cairn_model::Part| match (part.tags.as_slice(), &part.value) {
        ([inputs, _, subject, content], Value::Digest(digest))
            if inputs == "inputs" && content == "content" =>
        {
            Some((subject.clone(), *digest))
        }
        _ => None,
    };
    parts.iter().filter_map(file).collect()
}
