import Synchronization
import Testing

@testable import OpsMetrics

@Suite("Metrics registry")
struct MetricsRegistryTests {
    private let registry = MetricsRegistry()

    @Test("the page of every kind of metric, byte for byte")
    func page() {
        registry.counter("b_total", help: "Counted.").increment(by: 2)
        registry.gauge("a_ratio", help: "Set.").set(0.25)
        let histogram = registry.histogram("c_seconds", help: "Measured.", labels: ["stage"], buckets: [0.5, 1])
        histogram.with("x").observe(0.5)
        histogram.with("x").observe(3)
        #expect(
            registry.render() == """
                # HELP a_ratio Set.
                # TYPE a_ratio gauge
                a_ratio 0.25
                # HELP b_total Counted.
                # TYPE b_total counter
                b_total 2
                # HELP c_seconds Measured.
                # TYPE c_seconds histogram
                c_seconds_bucket{stage="x",le="0.5"} 1
                c_seconds_bucket{stage="x",le="1"} 1
                c_seconds_bucket{stage="x",le="+Inf"} 2
                c_seconds_sum{stage="x"} 3.5
                c_seconds_count{stage="x"} 2

                """
        )
    }

    @Test("labels and help texts come back unchanged through an independent reader")
    func escaping() throws {
        let nasty = "back\\slash \"quote\" line\nbreak, {brace}= 주문 \\n"
        registry.counter("nasty_total", help: nasty, labels: ["text", "other"]).with(nasty, "").increment()
        let page = try MetricsPage(registry.render())
        #expect(page.help["nasty_total"] == nasty)
        #expect(page.value("nasty_total", ["text": nasty, "other": ""]) == 1)
        #expect(page.samples.count == 1)
    }

    @Test("metrics are ordered by name and children by their labels")
    func order() throws {
        let family = registry.counter("z_total", help: "z", labels: ["k"])
        for key in ["c", "a", "b"] { family.with(key).increment() }
        _ = registry.gauge("a", help: "a")
        _ = registry.counter("m_total", help: "m")
        let page = try MetricsPage(registry.render())
        #expect(page.order == ["a", "m_total", "z_total"])
        #expect(page.samples.compactMap { $0.labels["k"] } == ["a", "b", "c"])
    }

    @Test(
        "numbers are written as the format wants them",
        arguments: [
            (0, "0"), (-3, "-3"), (0.1, "0.1"), (1e-9, "1e-09"), (1e300, "1e+300"),
            (9_007_199_254_740_991, "9007199254740991"),
            (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
        ] as [(Double, String)]
    )
    func numbers(value: Double, text: String) throws {
        registry.gauge("g", help: "g").set(value)
        let page = registry.render()
        #expect(page.hasSuffix("\ng \(text)\n"))
        let read = try #require(try MetricsPage(page).value("g"))
        #expect(read == value || (read.isNaN && value.isNaN))
    }

    @Test("a gauge given as a closure is asked at each rendering, outside of the registry's lock")
    func sampledGauge() throws {
        let asked = Atomic<Int>(0)
        registry.gauge("sampled", help: "s") { [registry] in
            // Making a metric takes the lock: it would deadlock here if it were held.
            let count = asked.wrappingAdd(1, ordering: .relaxed).newValue
            _ = registry.counter("made_\(count)_total", help: "m")
            return Double(count)
        }
        #expect(try MetricsPage(registry.render()).value("sampled") == 1)
        #expect(try MetricsPage(registry.render()).value("sampled") == 2)
    }

    @Test("a histogram's bounds are inclusive and its buckets add up")
    func buckets() throws {
        let histogram = registry.histogram("h", help: "h", buckets: [1, 2, 5])
        for value in [-1, 1, 1.5, 2, 5, 5.1, .infinity, .nan] { histogram.observe(value) }
        let page = try MetricsPage(registry.render())
        #expect(page.value("h_bucket", ["le": "1"]) == 2)
        #expect(page.value("h_bucket", ["le": "2"]) == 4)
        #expect(page.value("h_bucket", ["le": "5"]) == 5)
        #expect(page.value("h_count") == 7)
    }

    @Test("a duration is observed in seconds")
    func durations() {
        let histogram = registry.histogram("d_seconds", help: "d", buckets: [1])
        histogram.observe(.milliseconds(1_250))
        #expect(histogram.sum == 1.25)
    }

    @Test("a counter never goes down")
    func counterOnlyGrows() {
        let counter = registry.counter("c_total", help: "c")
        counter.increment(by: 2)
        counter.increment(by: -1)
        counter.increment(by: .nan)
        counter.increment(by: .infinity)
        #expect(counter.value == 2)
    }

    @Test("label values beyond the maximum share one child named other, and lose nothing")
    func boundedChildren() throws {
        let family = registry.counter("f_total", help: "f", labels: ["a", "b"], maximumChildren: 3)
        for number in 0..<10 { family.with("\(number)", "x").increment() }
        family.with("0", "x").increment()
        let page = try MetricsPage(registry.render())
        #expect(page.samples.count == 4)
        #expect(page.value("f_total", ["a": "0", "b": "x"]) == 2)
        #expect(page.value("f_total", ["a": "other", "b": "other"]) == 7)
    }

    @Test("nothing is lost when eight tasks use the same handles while the page is rendered")
    func concurrency() async throws {
        let counter = registry.counter("c_total", help: "c")
        let gauge = registry.gauge("g", help: "g")
        let family = registry.counter("f_total", help: "f", labels: ["k"], maximumChildren: 2)
        let histogram = registry.histogram("h", help: "h", buckets: [1, 2])
        let (tasks, rounds) = (8, 5_000)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<tasks {
                group.addTask {
                    for round in 0..<rounds {
                        counter.increment()
                        gauge.add(task % 2 == 0 ? 1 : -1)
                        family.with("\(round % 4)").increment()
                        histogram.observe(Double(round % 3))
                    }
                }
            }
            group.addTask { [registry] in
                for _ in 0..<50 {
                    #expect(throws: Never.self) { try MetricsPage(registry.render()) }
                }
            }
        }
        let page = try MetricsPage(registry.render())
        let total = Double(tasks * rounds)
        #expect(counter.value == total)
        #expect(gauge.value == 0)
        #expect(histogram.count == UInt64(total))
        #expect(page.samples.filter { $0.name == "f_total" }.map(\.value).reduce(0, +) == total)
        #expect(page.samples.filter { $0.name == "f_total" }.count == 3)
    }

    @Test(
        "malformed and repeated names are refused at once",
        arguments: ["", "1a", "a-b", "a b", "ä", "ok_total"]
    )
    func names(name: String) async {
        await #expect(processExitsWith: .failure) { [name] in
            let registry = MetricsRegistry()
            _ = registry.counter("ok_total", help: "first")
            _ = registry.counter(name, help: "second")
        }
    }
}
