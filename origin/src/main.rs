//! `lakh-origin`: a neighbourhood lending application, made to stand behind the Lakh edge.
//! Several processes may share one data folder.

mod app;
mod backups;
mod credentials;
mod domain;
mod handlers;
mod hub;
mod jobs;
mod lifecycle;
mod listen;
mod mail;
mod observe;
mod payments;
mod processing;
mod redis;
mod routes;
mod serve;
mod settings;
mod shards;
mod storage;
mod store;

use app::App;
use axum::serve::ListenerExt;
use clap::Parser;
use domain::clock::Moment;
use domain::user::{Grant, Role};
use jobs::Workers;
use lifecycle::Stop;
use observe::log;
use serde_json::json;
use settings::{Command, Settings};
use std::{error::Error, process::ExitCode, sync::Arc};
use store::{By, Store};
use tokio::select;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Settings::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("failed", json!({ "reason": error.to_string() }));
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    let mut stop = Stop::listen()?;
    let only = settings.command.is_some() || settings.grant.is_some();
    let ready = select! {
        ready = prepare(&settings) => ready?,
        () = stop.asked() => {
            return match only {
                true => Err("it was told to stop before it was done".into()),
                false => {
                    log::info("stopped", json!({}));
                    Ok(())
                }
            };
        }
    };
    match ready {
        Some(app) => serve(&settings, app, stop).await,
        None => Ok(()),
    }
}

/// All before serving; None where that was all.
async fn prepare(settings: &Settings) -> Result<Option<Arc<App>>, Box<dyn Error>> {
    if let Some(command) = &settings.command {
        carry_out(settings, command).await?;
        return Ok(None);
    }
    let app = Arc::new(App::open(settings).await?);
    if let Some((role, email)) = &settings.grant {
        grant(&app, *role, email).await?;
        return Ok(None);
    }
    if settings.wants_demo() {
        jobs::demo::seed(&app.store).await?;
    }
    Ok(Some(app))
}

async fn serve(settings: &Settings, app: Arc<App>, stop: Stop) -> Result<(), Box<dyn Error>> {
    let listener = listen::on((settings.host, settings.port).into())?;
    log::info(
        "listening",
        json!({ "address": listener.local_addr()?.to_string() }),
    );
    let listener = listener.tap_io(|connection| listen::prepare(connection, listen::MOST_SILENCE));

    let serving = serve::serve(listener, routes::of(app.clone()), app.stopping.subscribe());
    let workers = Workers::start(&app);
    let mut hubs = vec![tokio::spawn(hub::note_presence(app.clone()))];
    for shard in app.shards.all() {
        shard.hub.begin_after(shard.store.last_message().await?);
        let (store, hub) = (shard.store.clone(), shard.hub.clone());
        hubs.push(tokio::spawn(hub::follow(
            store,
            hub,
            app.stopping.subscribe(),
        )));
    }
    lifecycle::serve_until(serving, stop, &app.stopping).await;
    lifecycle::finish(workers.finish()).await;
    for part in hubs {
        part.await?;
    }
    for store in app.stores() {
        store.close().await;
    }
    log::info("stopped", json!({}));
    Ok(())
}

async fn carry_out(settings: &Settings, command: &Command) -> Result<(), Box<dyn Error>> {
    let turn = app::turn(&settings.data).await?;
    let store = Arc::new(Store::open(settings).await?);
    let (done, count) = match command {
        Command::Backup { file } => {
            // Whoever starts need not wait for it.
            drop(turn);
            let rows = backups::back_up(settings, &store, file).await?;
            ("backed_up", rows)
        }
        Command::Restore { file } => {
            let rows = backups::restore(settings, &store, file).await?;
            ("restored", rows)
        }
        Command::Reshard { former } => {
            let moved = shards::reshard(settings, &store, former, |_| Ok(())).await?;
            ("resharded", moved)
        }
    };
    store.close().await;
    log::info(done, json!({ "count": count }));
    Ok(())
}

/// For the first administrator: whoever may start this process on its data may do everything there.
async fn grant(app: &App, role: Role, email: &str) -> Result<(), Box<dyn Error>> {
    let known = app.store.user_by_email(email).await?;
    let user = known.ok_or("nobody is registered with this address")?.user;
    let grant = Grant {
        role: Some(role),
        class: None,
    };
    app.store
        .grant(user.id, grant, By::itself(Moment::now()))
        .await?;
    app.store.close().await;
    log::info("granted", json!({ "user": user.id, "role": role }));
    Ok(())
}
