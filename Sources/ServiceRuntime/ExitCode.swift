/// The exit codes of our processes besides 0, as `sysexits.h` numbers them.
package enum ExitCode {
    /// Something failed that no other code tells (`EXIT_FAILURE`).
    package static let failure: Int32 = 1
    /// The command line is wrong (`EX_USAGE`).
    package static let usage: Int32 = 64
    /// A server that is needed, or an address to listen on, is not to be had (`EX_UNAVAILABLE`).
    package static let unavailable: Int32 = 69
    /// The process did not stop in time (`EX_SOFTWARE`).
    package static let software: Int32 = 70
    /// Not now, try again later (`EX_TEMPFAIL`): another run is going.
    package static let temporaryFailure: Int32 = 75
    /// A setting is missing or wrong (`EX_CONFIG`).
    package static let configuration: Int32 = 78
}

/// The reason why a process ends, with the exit code that says so.
///
/// Thrown out of ``ServiceProcess/main(_:_:)`` or a service, it becomes one line on standard error.
package struct ProcessFailure: Error, CustomStringConvertible {
    /// One of ``ExitCode``, or another number from 1 to 127.
    package let exitCode: Int32
    /// One line, made to be shown.
    package let description: String

    /// Creates a failure.
    package init(_ description: String, exitCode: Int32 = ExitCode.failure) {
        self.description = description
        self.exitCode = exitCode
    }
}
