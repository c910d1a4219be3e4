//! A real Prometheus.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use veth_tests::{Agent, Background, on_node, run};

/// Nobody else is on the node.
const ADDRESS: &str = "127.0.0.1:9090";
const QUERY: &str =
    "rate(veth_agent_packets_total{netns=\"orange\",interface=\"tap1\",direction=\"tx\"}[20s])";

fn ask(query: &str) -> Result<Value> {
    let mut answer =
        ureq::get(format!("http://{ADDRESS}/api/v1/query")).query("query", query).call()?;
    Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
}

#[test]
fn prometheus_scrapes_the_page_and_answers_with_rates() {
    on_node(|node| {
        node.netns("orange")?;
        node.netns("green")?;
        run("ip -n orange link add tap1 type veth peer name tap2 netns green")?;
        run("ip -n orange addr add 192.168.1.2/24 dev tap1")?;
        run("ip -n green addr add 192.168.1.3/24 dev tap2")?;
        run("ip -n orange link set tap1 up")?;
        run("ip -n green link set tap2 up")?;
        let daemon = Agent::start(node, "")?;
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs: [{{ job_name: agent, \
             static_configs: [{{ targets: ['{}'] }}] }}]\n",
            daemon.address()
        );
        let config = node.file("prometheus.yml", &config)?;
        let _prometheus = Background::start(&format!(
            "prometheus --config.file={} --storage.tsdb.path={} --web.listen-address={ADDRESS}",
            config.display(),
            node.scratch().join("data").display(),
        ))?;
        let _ping =
            Background::start("nsenter --net=/run/netns/orange ping -q -i 0.02 -w 90 192.168.1.3")?;
        let rate = node.eventually("a rate", Duration::from_secs(60), || {
            let Ok(answer) = ask(QUERY) else { return Ok(None) };
            let value = answer["data"]["result"][0]["value"][1].as_str();
            let rate = value.and_then(|value| value.parse::<f64>().ok());
            Ok(rate.filter(|rate| *rate > 0.0))
        })?;
        ensure!(rate < 1000.0, "{rate} packets a second, of about 50");
        let up = ask("up{job=\"agent\"}")?;
        ensure!(up["data"]["result"][0]["value"][1] == "1", "{up}");
        Ok(())
    });
}
