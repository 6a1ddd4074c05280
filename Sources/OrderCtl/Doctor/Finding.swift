import ServiceRuntime

/// What a check has found.
struct Finding: Encodable {
    enum Verdict: String, Encodable {
        case ok
        case warn
        case fail
        /// It could not be looked at.
        case unknown
    }

    let check: String
    let verdict: Verdict
    /// What is the case.
    let finding: String
    /// What to do; nil when there is nothing to do.
    let advice: String?

    static func ok(_ check: String, _ finding: String) -> Finding {
        Finding(check: check, verdict: .ok, finding: finding, advice: nil)
    }

    static func warn(_ check: String, _ finding: String, _ advice: String) -> Finding {
        Finding(check: check, verdict: .warn, finding: finding, advice: advice)
    }

    static func fail(_ check: String, _ finding: String, _ advice: String) -> Finding {
        Finding(check: check, verdict: .fail, finding: finding, advice: advice)
    }

    static func unknown(_ check: String, _ finding: String, _ advice: String? = nil) -> Finding {
        Finding(check: check, verdict: .unknown, finding: finding, advice: advice)
    }

    /// All of them, with what to do below each.
    static func text(_ findings: [Finding]) -> String {
        var table = TextTable([("VERDICT", .left), ("CHECK", .left), ("FINDING", .left)])
        for finding in findings {
            table.add([finding.verdict.rawValue, finding.check, finding.finding], style: finding.style)
            if let advice = finding.advice { table.add(["", "", "→ \(advice)"]) }
        }
        let counts = [Verdict.ok, .warn, .fail, .unknown].map { verdict in
            "\(findings.count { $0.verdict == verdict }) \(verdict.rawValue)"
        }
        return "\(table.text)\n\n\(counts.joined(separator: ", "))"
    }

    private var style: Console.Style {
        switch verdict {
        case .ok: .good
        case .warn: .warning
        case .fail: .bad
        case .unknown: .faint
        }
    }
}
