//! The edge as its users meet it: the real binary, real sockets, an origin that does as told.
//!
//! Each test starts an edge of its own on ports of its own, so all may run at once. Nothing here
//! sleeps: every wait is for a condition, and ends with a failure when it takes too long.

mod harness;

mod paths;
mod proxy;
mod purge;
mod purge_method;
mod routes;
mod warm;

mod clients;
mod events;
mod grpc;
mod grpc_web;
mod http3;
mod http3_cancels;
mod http3_doors;
mod http3_grpc;
mod http3_heads;
mod interim;

mod announced;
mod devices;
mod faults;
mod fleet;
mod lending;
mod lending_page;
mod resilience;
mod secured;
mod spawn;
mod split;
mod tunnel;
mod unix;
mod uploads;
mod upstream;
mod websocket;
mod websocket_frames;
mod websocket_h2;
mod websocket_many;

mod acme;
mod tls;
mod tls_bytes;
mod tls_clients;
mod tls_files;
mod tls_made;

mod admin;
mod bans;
mod guard;
mod half_closed;
mod proxied;
mod shed;
mod slow;
mod slow_h2;

mod auth;
mod browsers;
mod cache;
mod collapse;
mod crowd;
mod disk;
mod express;
mod freshness;
mod key;
mod negative;
mod redis;
mod top;

mod compress;
mod images;
mod images_ask;
mod images_full;
mod images_room;
mod images_untouched;
mod images_whose;

mod boards;
mod config;
mod dashboard;
mod explain;
mod logs;
mod observe;
mod operators;
mod readme;
mod reloads;
mod stop;
mod traces;
mod upgrade;

mod limits;
mod malformed;
mod raw;
