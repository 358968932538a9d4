//! `orinoco tree`: the live actor tree of the daemon that runs on the data directory, over its control socket.

mod view;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::Output;
use crate::config::Config;
use crate::control::{Client, ControlError};
use view::TreeView;

const REDRAW_EVERY: Duration = Duration::from_secs(1);
/// Cursor home, then clear to the end (ECMA-48): redrawing so does not flicker.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[2J";

/// Flags of `orinoco tree`.
#[derive(Debug, Clone, Args)]
pub struct TreeArgs {
    /// Redraws every second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// The snapshot as JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Kills the actor at this path, to see the tree heal; supervision.toml must say `[chaos] allow_kill = true`.
    #[arg(long, value_name = "PATH", conflicts_with = "watch")]
    kill: Option<String>,
}

/// Prints the tree, once or every second.
///
/// # Errors
/// `ControlError`: no daemon runs there, or it refused; `OutputClosed`.
pub async fn run(args: &TreeArgs, config: &Config, output: &mut Output) -> anyhow::Result<ExitCode> {
    let socket = config.control_socket();
    let mut client = Client::connect(&socket).await?;
    if let Some(path) = &args.kill {
        client.kill(path).await?;
        if args.json {
            output.json(&serde_json::json!({ "killed": path }))?;
        } else {
            output.line(format_args!("killed {path}"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !args.watch {
        let text = once(&mut client, args.json).await?;
        output.write(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let redraws = output.is_terminal() && !args.json;
    if redraws {
        output.write(CLEAR_ALL)?;
    }
    let mut ticks = tokio::time::interval(REDRAW_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                return Ok(ExitCode::SUCCESS);
            }
        }
        let text = match once(&mut client, args.json).await {
            Ok(text) => text,
            Err(error) => match error.downcast_ref::<ControlError>() {
                // The daemon restarts, or ended: the next tick tries again.
                Some(gone) if redraws => {
                    let text = format!("{gone}\n");
                    if let Ok(again) = Client::connect(&socket).await {
                        client = again;
                    }
                    text
                }
                _ => return Err(error),
            },
        };
        if redraws {
            let text = output.terminal_size().map_or_else(|| text.clone(), |size| fit(&text, size));
            output.write(&format!("{HOME}{}{CLEAR_REST}", text.replace('\n', &format!("{CLEAR_LINE}\n"))))?;
        } else {
            output.write(&text)?;
        }
    }
}

async fn once(client: &mut Client, json: bool) -> anyhow::Result<String> {
    let snapshot = client.tree().await?;
    if json {
        return Ok(format!("{snapshot}\n"));
    }
    let view: TreeView = serde_json::from_value(snapshot).context("the daemon's answer is of another version")?;
    Ok(view.render())
}

/// Cuts what would wrap or scroll, and so be left standing at the next redraw. The last row stays free for the cursor.
fn fit(text: &str, (columns, rows): (usize, usize)) -> String {
    let cut = |line: &str| format!("{}\n", line.chars().take(columns).collect::<String>());
    let (count, room) = (text.lines().count(), rows.saturating_sub(1));
    if count <= room {
        return text.lines().map(cut).collect();
    }
    let shown = room.saturating_sub(1);
    let rest = format!("... {} more lines: a taller window shows them", count - shown);
    text.lines().take(shown).map(cut).chain([cut(&rest)]).collect()
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn a_redrawn_tree_never_wraps_or_scrolls() {
        assert_eq!(fit("abcdef\ng\n", (3, 3)), "abc\ng\n");
        assert_eq!(fit("a\nb\nc\n", (60, 3)), "a\n... 2 more lines: a taller window shows them\n");
        assert_eq!(fit("é\u{fc}x\n", (2, 9)), "é\u{fc}\n");
    }
}
