extension System {
    /// Proves with `orderctl audit` what must be true in the database whenever nothing is in flight.
    func audit() async throws {
        try await run("orderctl", ["audit", "--format", "json"], as: "jumun_audit")
    }
}
