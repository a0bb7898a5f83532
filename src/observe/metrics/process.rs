//! What the process takes of its machine, read when somebody asks.

use super::register::Make;
use prometheus::{Counter, Gauge, IntGauge};
use std::fs;
use tokio::runtime::Handle;

pub struct Process {
    /// Unix time.
    pub started: Gauge,
    cpu: Counter,
    cpus: IntGauge,
    memory: IntGauge,
    memory_limit: IntGauge,
    open_files: IntGauge,
    max_files: IntGauge,
    threads: IntGauge,
    tasks: IntGauge,
}

impl Process {
    pub fn new(make: &Make<'_>) -> Process {
        make.gauges("lakh_build_info", "1; what runs.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Process {
            started: make.float_gauge(
                "lakh_process_start_time_seconds",
                "When the process started.",
            ),
            cpu: make.float_counter(
                "lakh_process_cpu_seconds_total",
                "Processor time taken, of user and system.",
            ),
            cpus: make.gauge("lakh_process_cpus", "Processors that it may use."),
            memory: make.gauge(
                "lakh_process_resident_memory_bytes",
                "Memory that is in use.",
            ),
            memory_limit: make.gauge(
                "lakh_process_memory_limit_bytes",
                "Memory that may be in use: the container's limit, or the machine's memory.",
            ),
            open_files: make.gauge("lakh_process_open_fds", "Open files and connections."),
            max_files: make.gauge(
                "lakh_process_max_fds",
                "Files and connections that may be open.",
            ),
            threads: make.gauge("lakh_process_threads", "Threads."),
            tasks: make.gauge(
                "lakh_process_tasks",
                "Tasks that run or wait: one a connection, and some more.",
            ),
        }
    }

    /// What can't be read stays as it was.
    pub fn report(&self) {
        if let Some((seconds, threads)) = cpu_and_threads() {
            // Two who ask at once may add too much, by less than it grows until the next time.
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
            self.threads.set(threads);
        }
        let cpus = std::thread::available_parallelism();
        self.cpus.set(cpus.map_or(1, |cpus| cpus.get() as i64));
        set(&self.memory, resident_memory());
        set(&self.memory_limit, memory_limit());
        // One of them is the folder that is being read.
        let open = fs::read_dir("/proc/self/fd").map(|files| files.count() as i64 - 1);
        set(&self.open_files, open.ok());
        set(&self.max_files, max_files());
        let tasks = Handle::try_current().map(|runtime| runtime.metrics().num_alive_tasks() as i64);
        set(&self.tasks, tasks.ok());
    }
}

fn set(gauge: &IntGauge, value: Option<i64>) {
    if let Some(value) = value {
        gauge.set(value);
    }
}

/// proc_pid_stat(5): fields 14, 15 and 20, counted behind the name, which may hold anything.
fn cpu_and_threads() -> Option<(f64, i64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = behind.split(' ').collect();
    let number = |at: usize| fields.get(at - 3)?.parse::<i64>().ok();
    // SAFETY: asks for a constant of the system; touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let seconds = (number(14)? + number(15)?) as f64 / ticks.max(1) as f64;
    Some((seconds, number(20)?))
}

/// proc_pid_statm(5): the second field, in pages.
fn resident_memory() -> Option<i64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: as above.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * page)
}

fn memory_limit() -> Option<i64> {
    let machine = meminfo("MemTotal:").map(|kib| kib << 10);
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse().ok());
    container.into_iter().chain(machine).min()
}

fn meminfo(name: &str) -> Option<i64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// proc_pid_limits(5): the limit in force stands first.
fn max_files() -> Option<i64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn a_process_takes_something_of_its_machine() {
        let page = String::from_utf8(Metrics::new().render()).expect("text");
        let value = |name: &str| -> f64 {
            let mut lines = page.lines();
            let line = lines.find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.and_then(|text| text.parse().ok()).unwrap_or(-1.0)
        };
        let limit = value("lakh_process_memory_limit_bytes");
        assert!((1.0..limit).contains(&value("lakh_process_resident_memory_bytes")));
        assert!(value("lakh_process_cpu_seconds_total") >= 0.0);
        assert!(value("lakh_process_cpus") >= 1.0);
        let files = value("lakh_process_max_fds");
        assert!((3.0..files).contains(&value("lakh_process_open_fds")));
        assert!(value("lakh_process_threads") >= 1.0);
        assert!(page.contains("# TYPE lakh_process_cpu_seconds_total counter"));
    }
}
