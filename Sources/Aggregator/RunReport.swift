import Foundation
import OrderDomain

/// What `aggregator run` says.
struct RunReport {
    /// What became of the ranking in Redis.
    enum Publication: Equatable {
        case published
        /// A newer run is there already.
        case superseded
        case failed(String)
    }

    let run: AggregationRun
    let trigger: AggregationRun.Trigger
    /// From the start to the saved run, without publishing it.
    let duration: Duration
    let publication: Publication

    /// What an operator should know although the run succeeded; one line.
    var problem: String? {
        switch publication {
        case .published: nil
        case .superseded: "not published to Redis: a newer run stands there"
        case .failed(let reason): "not published to Redis: \(reason)"
        }
    }

    private var milliseconds: Int { Int(duration / .milliseconds(1)) }

    func print(as format: Aggregator.Format) throws {
        switch format {
        case .text: Swift.print(text)
        case .json: Swift.print(try jsonText(JSON(self)))
        }
    }

    private var text: String {
        let published =
            switch publication {
            case .published: "yes"
            case .superseded: "no, a newer run stands"
            case .failed: "no"
            }
        return """
            run               \(run.id)
            trigger           \(trigger.rawValue)
            rows read         \(run.rowsRead)
            products touched  \(run.productsTouched)
            window from       \(timeText(run.windowFrom))
            window to         \(timeText(run.windowTo))
            duration          \(milliseconds) ms
            published         \(published)
            """
    }

    private struct JSON: Encodable {
        let run: Int64
        let trigger: String
        let rowsRead: Int64
        let productsTouched: Int64
        let windowFrom: String
        let windowTo: String
        let durationMs: Int
        let published: Bool
        let problem: String?

        init(_ report: RunReport) {
            run = report.run.id
            trigger = report.trigger.rawValue
            rowsRead = report.run.rowsRead
            productsTouched = report.run.productsTouched
            windowFrom = timeText(report.run.windowFrom)
            windowTo = timeText(report.run.windowTo)
            durationMs = report.milliseconds
            published = report.publication == .published
            problem = report.problem
        }
    }
}

/// RFC 3339, UTC, milliseconds.
func timeText(_ date: Date) -> String {
    // The style cuts what is below a millisecond, and a Date may lie a little below its whole milliseconds.
    date.addingTimeInterval(0.000_5).formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
}

/// One line of JSON, its members in the order of the alphabet.
func jsonText(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}
