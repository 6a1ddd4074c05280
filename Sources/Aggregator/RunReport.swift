import Foundation
import OrderDomain
import OrderMessages

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
        case .json: Swift.print(try encoded(JSON(self)))
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
            window from       \(run.windowFrom.rfc3339)
            window to         \(run.windowTo.rfc3339)
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
            windowFrom = report.run.windowFrom.rfc3339
            windowTo = report.run.windowTo.rfc3339
            durationMs = report.milliseconds
            published = report.publication == .published
            problem = report.problem
        }
    }
}
