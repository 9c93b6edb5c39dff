//! Measures what a container uses, with cgroups of version 1 and 2.

use bollard::{
    models::{ContainerCpuStats, ContainerMemoryStats, ContainerStatsResponse},
    query_parameters::StatsOptionsBuilder,
};
use futures_util::StreamExt;

use super::{Docker, output::moment};
use crate::ports::inside::{InsideError, Load};

const NANOS: f64 = 1e9;

impl Docker {
    /// The engine measures twice, a second apart.
    pub(super) async fn measure(&self, id: &str) -> Result<Load, InsideError> {
        let options = StatsOptionsBuilder::default().stream(false).build();
        let stats = self.engine.call(|docker| async move {
            let mut stats = std::pin::pin!(docker.stats(id, Some(options)));
            stats.next().await.transpose()
        });
        match stats.await.map_err(|error| error.inside("measure the container"))? {
            Some(stats) => Ok(load_of(&stats)),
            None => Err(InsideError::Failed("the engine told no figures of the container".to_owned())),
        }
    }
}

fn load_of(stats: &ContainerStatsResponse) -> Load {
    let (cpu, before) = (stats.cpu_stats.as_ref(), stats.precpu_stats.as_ref());
    let used = |cpu: Option<&ContainerCpuStats>| cpu.and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage).unwrap_or(0);
    let system = |cpu: Option<&ContainerCpuStats>| cpu.and_then(|cpu| cpu.system_cpu_usage).unwrap_or(0);
    let cores = cpu.and_then(|cpu| cpu.online_cpus).unwrap_or(0);
    let (worked, passed) = (used(cpu).saturating_sub(used(before)), system(cpu).saturating_sub(system(before)));
    let memory = stats.memory_stats.clone().unwrap_or_default();
    let cache = cache_of(&memory);
    let network = stats
        .networks
        .iter()
        .flatten()
        .map(|(name, traffic)| (name.clone(), (traffic.rx_bytes.unwrap_or(0), traffic.tx_bytes.unwrap_or(0))));
    Load {
        at: stats.read.as_ref().and_then(|read| moment(read.as_bytes())).unwrap_or_default(),
        cpu_seconds: used(cpu) as f64 / NANOS,
        cpus: if passed == 0 { 0.0 } else { worked as f64 / passed as f64 * f64::from(cores) },
        cpu_limit: f64::from(cores),
        memory_bytes: memory.usage.unwrap_or(0).saturating_sub(cache),
        cache_bytes: cache,
        memory_limit_bytes: memory.limit.unwrap_or(0),
        pids: stats.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or(0),
        network: network.collect(),
        disk: disk_of(stats),
    }
}

/// What the kernel can give back: the files that it has cached and that were not used lately, as `docker stats` counts them.
fn cache_of(memory: &ContainerMemoryStats) -> u64 {
    let stats = memory.stats.as_ref();
    let named = |name| stats.and_then(|stats| stats.get(name)).copied();
    named("total_inactive_file").or_else(|| named("inactive_file")).unwrap_or(0)
}

fn disk_of(stats: &ContainerStatsResponse) -> (u64, u64) {
    let entries = stats.blkio_stats.as_ref().and_then(|disks| disks.io_service_bytes_recursive.as_deref());
    let sum = |operation: &str| {
        let entries = entries.unwrap_or_default().iter();
        let of_it = entries.filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(operation)));
        of_it.filter_map(|entry| entry.value).sum()
    };
    (sum("read"), sum("write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_read() {
        let of = |stats: &str| {
            let text = format!(
                r#"{{"read": "2026-11-26T02:00:01Z", "pids_stats": {{"current": 3}},
                    "cpu_stats": {{"cpu_usage": {{"total_usage": 2500000000}}, "system_cpu_usage": 14000000000, "online_cpus": 4}},
                    "precpu_stats": {{"cpu_usage": {{"total_usage": 2000000000}}, "system_cpu_usage": 10000000000, "online_cpus": 4}},
                    "networks": {{"eth0": {{"rx_bytes": 5, "tx_bytes": 7}}}},
                    "blkio_stats": {{"io_service_bytes_recursive": [{{"op": "read", "value": 11}}, {{"op": "Write", "value": 13}}]}},
                    "memory_stats": {{"usage": 1000, "limit": 4000, "stats": {stats}}}}}"#
            );
            load_of(&serde_json::from_str(&text).unwrap())
        };
        for stats in [r#"{"total_inactive_file": 400, "inactive_file": 300}"#, r#"{"inactive_file": 400}"#] {
            let load = of(stats);
            assert_eq!((load.memory_bytes, load.cache_bytes, load.memory_limit_bytes), (600, 400, 4000));
            assert_eq!((load.cpu_seconds, load.cpus, load.cpu_limit), (2.5, 0.5, 4.0));
            assert_eq!((load.network["eth0"], load.disk, load.pids), ((5, 7), (11, 13), 3));
        }
    }
}
