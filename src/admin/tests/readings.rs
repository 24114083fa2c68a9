use std::sync::atomic::Ordering;

use serde_json::json;

use super::api::Api;
use crate::model::{EquipmentNumber, MetricNumber, Quality, SeriesId};

const T0: i64 = 1_767_607_200_000_000; // 2026-01-05T10:00:00Z
const SECOND: i64 = 1_000_000;

struct Series {
    api: Api,
    integration: String,
    equipment: String,
    id: SeriesId,
}

impl Series {
    async fn new(external_id: &str) -> Self {
        let api = Api::start().await;
        let integration = api.request_integration(&api.ann).await.id();
        let body = json!({ "integration_id": integration, "kind": "sensor", "external_id": external_id });
        let equipment = api.post("/admin/v1/equipment", &api.ann, body).await.id();
        Self { api, integration, equipment, id: SeriesId::new(EquipmentNumber(1), MetricNumber(1)) }
    }

    fn put(&self, seconds: i64, value: f64, quality: Quality) {
        self.api.store.put(self.id, T0 + seconds * SECOND, value, quality);
    }

    fn path(&self, query: &str) -> String {
        format!("/admin/v1/readings?equipment_id={}&metric=temperature{query}", self.equipment)
    }

    async fn values(&self, query: &str) -> Vec<f64> {
        let items = self.api.pages(&self.path(query), &self.api.ann).await;
        items.iter().map(|item| item["value"].as_f64().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_range_is_read_from_inclusive_to_exclusive_in_pages() {
    let series = Series::new("AA:BB:01").await;
    for second in 0..10 {
        series.put(second, f64::from(second as i32) + 0.5, Quality::Good);
    }
    series.put(10, -1.5, Quality::Uncertain);
    let api = &series.api;
    assert_eq!(series.values("").await.len(), 11);
    let range = "&from=2026-01-05T10:00:02Z&to=2026-01-05T11:00:05%2B01:00";
    assert_eq!(series.values(range).await, [2.5, 3.5, 4.5]);
    let unescaped = "&from=2026-01-05T11:00:02+01:00&to=2026-01-05T10:00:04Z";
    assert_eq!(series.values(unescaped).await, [2.5, 3.5]);
    for limit in [1, 3, 11, 12] {
        assert_eq!(series.values(&format!("&limit={limit}")).await.len(), 11, "pages of {limit}");
    }
    let full = api.get(&series.path("&limit=11"), &api.ann).await;
    assert!(full.json["next_cursor"].is_null(), "a full page that is the last one says so");
    assert_eq!(full.json["items"][0], json!({ "timestamp": "2026-01-05T10:00:00Z", "value": 0.5, "quality": "good" }));
    assert_eq!(full.json["items"][10]["quality"], "uncertain");
    let by_external = format!(
        "/admin/v1/readings?integration_id={}&external_id=AA:BB:01&metric=temperature&limit=1",
        series.integration
    );
    assert_eq!(api.get(&by_external, &api.ann).await.json["items"][0]["value"], 0.5);
    assert_eq!(series.values("&from=2026-01-05T10:00:02Z&to=2026-01-05T10:00:02Z").await, [0.0; 0]);
}

#[tokio::test]
async fn steps_have_their_mean_and_jump_over_gaps() {
    let series = Series::new("S").await;
    for (second, value) in [(0, 1.0), (30, 3.0), (60, 5.0), (86_400 * 40, 7.0), (86_400 * 400, 9.0)] {
        series.put(second, value, Quality::Good);
    }
    // A stretch of readings that count for nothing.
    for minute in 3..40 {
        series.put(minute * 60, 1_000.0, Quality::Bad);
    }
    let api = &series.api;
    let page = api.get(&series.path("&resolution=1m"), &api.ann).await;
    assert_eq!(
        page.json["items"][0],
        json!({ "timestamp": "2026-01-05T10:00:00Z", "value": 2.0, "min": 1.0, "max": 3.0, "first": 1.0, "last": 3.0,
                "count": 2 })
    );
    assert_eq!(series.values("&resolution=1m").await, [2.0, 5.0, 7.0, 9.0]);
    for limit in 1..=5 {
        assert_eq!(series.values(&format!("&resolution=60&limit={limit}")).await, [2.0, 5.0, 7.0, 9.0], "{limit}");
    }
    assert_eq!(series.values("&resolution=1d").await.len(), 3);
    assert_eq!(series.values("&resolution=1h&from=2026-01-05T10:00:10Z&to=2026-01-05T10:01:00Z").await, [3.0]);
}

#[tokio::test]
async fn csv_comes_whole_and_is_no_formula() {
    let series = Series::new("=HYPERLINK(\"x\")").await;
    for second in 0..5_000 {
        series.put(second, f64::from(second as i32) - 10.25, Quality::Good);
    }
    let api = &series.api;
    let csv = api.get(&series.path("&format=csv"), &api.ann).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<&str> = csv.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 5_001);
    assert_eq!(lines[0], "timestamp,value,quality,equipment_id,external_id,metric,unit");
    let expected =
        format!("2026-01-05T10:00:00Z,-10.25,good,{},\"'=HYPERLINK(\"\"x\"\")\",temperature,C", series.equipment);
    assert_eq!(lines[1], expected, "numbers stay numbers, texts are no formulas");
    let steps = api.get(&series.path("&format=csv&resolution=1h&from=2026-01-05T10:00:00Z"), &api.ann).await;
    assert_eq!(steps.text.lines().count(), 3, "{}", steps.text);
    let empty = api.get(&series.path("&format=csv&to=2020-01-01T00:00:00Z"), &api.ann).await;
    assert_eq!(empty.text.lines().count(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let series = Series::new("S").await;
    let api = &series.api;
    for query in [
        "&limit=0",
        "&limit=10001",
        "&resolution=0",
        "&resolution=1w",
        "&format=parquet",
        "&format=csv&limit=5",
        "&from=2026-01-05",
        "&from=2026-01-05T10:00:01Z&to=2026-01-05T10:00:00Z",
        "&cursor=abc",
        "&external_id=S",
        "&metric=humidity",
        "&colour=green",
    ] {
        assert_eq!(api.get(&series.path(query), &api.ann).await.code(), (400, "invalid_parameter"), "{query}");
    }
    let equipment = &series.equipment;
    for query in [
        format!("equipment_id={equipment}"),
        format!("equipment_id={equipment}&metric=love"),
        format!("integration_id={}&metric=temperature", series.integration),
    ] {
        let answer = api.get(&format!("/admin/v1/readings?{query}"), &api.ann).await;
        assert_eq!(answer.code(), (400, "invalid_parameter"), "{query}");
    }
    let nobody = "/admin/v1/readings?equipment_id=00000000-0000-7000-8000-000000000000&metric=temperature";
    assert_eq!(api.get(nobody, &api.ann).await.code(), (404, "not_found"));
    api.store.is_down.store(true, Ordering::Relaxed);
    let down = api.get(&series.path(""), &api.ann).await;
    assert_eq!((down.code(), down.header("retry-after")), ((503, "storage_unavailable"), "1"));
}

#[tokio::test]
async fn the_latest_reading_of_each_series() {
    let series = Series::new("S0").await;
    let api = &series.api;
    for i in 1..6 {
        let body = json!({ "integration_id": series.integration, "kind": "sensor", "external_id": format!("S{i}") });
        api.post("/admin/v1/equipment", &api.ann, body).await;
    }
    for (number, metric, second, value) in
        [(1, 1, 5, 21.0), (1, 1, 3, 19.0), (1, 3, 4, 400.0), (3, 2, 0, 60.0), (6, 1, 1, 18.0), (6, 2, 1, 70.0)]
    {
        let id = SeriesId::new(EquipmentNumber(number), MetricNumber(metric));
        api.store.put(id, T0 + second * SECOND, value, Quality::Good);
    }
    let one = api.pages(&format!("/admin/v1/readings/latest?equipment_id={}", series.equipment), &api.ann).await;
    assert_eq!(
        one[0],
        json!({ "equipment_id": series.equipment, "external_id": "S0", "room": null, "metric": "temperature", "unit": "C",
                "timestamp": "2026-01-05T10:00:05Z", "value": 21.0, "quality": "good" })
    );
    assert_eq!(one.len(), 2);
    let all = format!("/admin/v1/readings/latest?integration_id={}", series.integration);
    let values = async |query: &str| -> Vec<f64> {
        let items = api.pages(&format!("{all}{query}"), &api.ann).await;
        items.iter().map(|item| item["value"].as_f64().unwrap()).collect()
    };
    for limit in [1, 2, 3, 4, 5, 200] {
        assert_eq!(values(&format!("&limit={limit}")).await, [21.0, 400.0, 60.0, 18.0, 70.0], "{limit}");
    }
    assert_eq!(values("&metric=humidity").await, [60.0, 70.0]);
    assert_eq!(values("&metric=humidity,co2&limit=2").await, [400.0, 60.0, 70.0]);
    assert_eq!(values("&metric=humidity&metric=co2&external_id=S5").await, [70.0]);
    let unknown = api.get(&format!("{all}&metric=love"), &api.ann).await;
    assert_eq!(unknown.code(), (400, "invalid_parameter"));
}
