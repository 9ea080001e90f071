//! The control socket: how other processes talk to the one that holds the log's writer lock.
//!
//! The holder (`watershed up`, or a long `watershed append`) names a Unix socket in the log's lock file. Other processes of the
//! same user append through it, ask it for epochs and answers, and tell it of manifests that they have published.
//!
//! Architecture invariant: nothing here knows what the requests do. The server hands them to a [`Holder`].

mod client;
mod impatient;
mod protocol;
mod server;
mod socket;

pub use self::{
    client::Client,
    protocol::{
        Acknowledged, Answered, ControlError, Frame, PROTOCOL_VERSION, ProducerRecords, REPLY_BODY_BYTES_MAX,
        REQUEST_BODY_BYTES_MAX, Reply, Request, decode_payloads, encode_payloads, read_frame, write_frame,
    },
    server::{Holder, Server},
    socket::{ControlSocket, socket_path},
};
