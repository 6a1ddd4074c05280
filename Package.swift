// swift-tools-version: 6.3
import PackageDescription

/// One strict set for every target of ours; `docs/decisions/0001-strict-settings.md` says what each line buys.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),  // SE-0335
    .enableUpcomingFeature("InternalImportsByDefault"),  // SE-0409
    .enableUpcomingFeature("MemberImportVisibility"),  // SE-0444
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),  // SE-0461
    .enableUpcomingFeature("InferIsolatedConformances"),  // SE-0470
    .enableUpcomingFeature("ImmutableWeakCaptures"),  // SE-0481
    .strictMemorySafety(),  // SE-0458
    .treatAllWarnings(as: .error),  // SE-0443
    .treatWarning("DeprecatedDeclaration", as: .warning),
]

extension Target.Dependency {
    static let argumentParser = product(name: "ArgumentParser", package: "swift-argument-parser")
    static let asyncHTTPClient = product(name: "AsyncHTTPClient", package: "async-http-client")
    static let collections = product(name: "DequeModule", package: "swift-collections")
    static let configuration = product(name: "Configuration", package: "swift-configuration")
    static let crypto = product(name: "Crypto", package: "swift-crypto")
    static let httpTypes = product(name: "HTTPTypes", package: "swift-http-types")
    static let hummingbird = product(name: "Hummingbird", package: "hummingbird")
    static let hummingbirdCore = product(name: "HummingbirdCore", package: "hummingbird")
    static let hummingbirdTesting = product(name: "HummingbirdTesting", package: "hummingbird")
    static let lifecycle = product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
    static let logging = product(name: "Logging", package: "swift-log")
    static let nioCore = product(name: "NIOCore", package: "swift-nio")
    static let nioEmbedded = product(name: "NIOEmbedded", package: "swift-nio")
    static let nioFoundationCompat = product(name: "NIOFoundationCompat", package: "swift-nio")
    static let nioHTTP1 = product(name: "NIOHTTP1", package: "swift-nio")
    static let nioPosix = product(name: "NIOPosix", package: "swift-nio")
    static let subprocess = product(name: "Subprocess", package: "swift-subprocess")
    static let systemPackage = product(name: "SystemPackage", package: "swift-system")
    static let toml = product(name: "TOMLKit", package: "TOMLKit")
    static let unixSignals = product(name: "UnixSignals", package: "swift-service-lifecycle")
    static let yams = product(name: "Yams", package: "Yams")
}

let package = Package(
    name: "jumun",
    products: [
        .executable(name: "order-api", targets: ["OrderAPI"]),
        .executable(name: "consumer", targets: ["Consumer"]),
        .executable(name: "aggregator", targets: ["Aggregator"]),
        .executable(name: "scheduler", targets: ["Scheduler"]),
        .executable(name: "data-platform", targets: ["DataPlatform"]),
        .executable(name: "orderctl", targets: ["OrderCtl"]),
    ],
    dependencies: [
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    ],
    targets: [
        // L5: executables. They never import each other.
        .executableTarget(
            name: "OrderAPI",
            dependencies: [
                "Operations", "OrderDomain", "OrderMessages", "OrderStore", "RankingBoard", "EventTopology",
                "ServiceRuntime", "OpsMetrics", "Backoff", "Postgres", "AMQP", "Redis",
                .argumentParser, .collections, .crypto, .httpTypes, .hummingbird, .lifecycle, .logging, .nioCore,
                .nioFoundationCompat, .yams,
            ],
            // In the executable itself, which so needs no file beside it.
            resources: [
                .embedInCode("OpenAPI/openapi.yaml"),
                .embedInCode("OpenAPI/swagger-ui.html"),
                .embedInCode("OpenAPI/swagger-ui-start.js"),
                .embedInCode("Console/Page/console.html"),
                .embedInCode("Console/Page/sign-in.html"),
                .embedInCode("Console/Page/console.css"),
                .embedInCode("Console/Page/console.svg"),
                .embedInCode("Console/Page/console.js"),
                .embedInCode("Console/Page/chart.js"),
                .embedInCode("Console/Page/letters.js"),
                .embedInCode("Console/Page/page.js"),
                .embedInCode("Console/Page/pipeline.js"),
                .embedInCode("Console/Page/platform.js"),
                .embedInCode("Console/Page/trace.js"),
            ]
        ),
        .executableTarget(
            name: "Consumer",
            dependencies: [
                "OrderStore", "EventTopology", "WebhookSignature", "ServiceRuntime", "OpsMetrics", "Backoff",
                "Postgres",
                "AMQP",
                .argumentParser, .asyncHTTPClient, .collections, .crypto, .httpTypes, .hummingbird, .lifecycle,
                .logging,
                .nioCore, .nioHTTP1,
            ]
        ),
        .executableTarget(
            name: "Aggregator",
            dependencies: [
                "OrderDomain", "OrderMessages", "OrderStore", "RankingBoard", "ServiceRuntime", "OpsMetrics", "Backoff",
                "Postgres", "Redis",
                .argumentParser, .hummingbird, .lifecycle, .logging,
            ]
        ),
        .executableTarget(
            name: "Scheduler",
            dependencies: [
                "OrderDomain", "OrderStore", "ServiceRuntime", "OpsMetrics", "Postgres", "Redis",
                .argumentParser, .hummingbird, .lifecycle, .logging, .subprocess, .systemPackage, .toml,
            ]
        ),
        .executableTarget(
            name: "DataPlatform",
            dependencies: [
                "WebhookSignature", "ServiceRuntime", "OpsMetrics",
                .argumentParser, .collections, .httpTypes, .hummingbird, .lifecycle, .logging, .nioCore,
            ]
        ),
        .executableTarget(
            name: "OrderCtl",
            dependencies: [
                "Operations", "OrderDomain", "OrderMessages", "OrderStore", "EventTopology", "ServiceRuntime",
                "Postgres", "AMQP", "Redis",
                .argumentParser, .asyncHTTPClient, .crypto, .logging, .nioCore, .nioHTTP1, .unixSignals,
            ]
        ),

        // L4: what an operator asks and does, on the command line and in the console.
        .target(
            name: "Operations",
            dependencies: [
                "OrderDomain", "OrderMessages", "OrderStore", "EventTopology", "ServiceRuntime", "Postgres", "AMQP",
                "Backoff", .asyncHTTPClient, .logging, .nioCore, .nioHTTP1, .unixSignals,
            ]
        ),

        // L3: the SQL, the ranking in Redis, the wire contracts, the broker's queues, the running of a process.
        .target(name: "OrderStore", dependencies: ["OrderDomain", "Postgres"]),
        .target(name: "OrderMessages", dependencies: ["OrderDomain"]),
        .target(name: "EventTopology", dependencies: ["AMQP"]),
        .target(name: "RankingBoard", dependencies: ["OrderDomain", "Redis"]),
        .target(
            name: "ServiceRuntime",
            dependencies: [
                "COpenSSL", "OpsMetrics", .configuration, .httpTypes, .hummingbird, .hummingbirdCore, .lifecycle,
                .logging,
                .nioCore, .nioHTTP1, .nioPosix, .unixSignals,
            ]
        ),

        // L2: one client per C library; they know nothing of orders.
        .target(name: "Postgres", dependencies: ["CLibPQ", "ThreadExecutor", .collections, .logging]),
        .target(name: "AMQP", dependencies: ["CRabbitMQ", "ThreadExecutor", "Backoff", .collections, .logging]),
        .target(name: "Redis", dependencies: ["CHiredis", "COpenSSL", "ThreadExecutor", "Backoff", .logging]),

        // L1: what the clients stand on.
        .target(name: "ThreadExecutor"),
        .target(name: "Backoff"),
        .target(name: "WebhookSignature", dependencies: [.crypto]),

        // L0: values and rules; nothing of ours below them.
        .target(name: "OrderDomain"),
        .target(name: "OpsMetrics"),
        .systemLibrary(name: "CLibPQ", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CRabbitMQ", providers: [.apt(["librabbitmq-dev"])]),
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),

        // Tests. Those below the line need the servers that `make test` starts, and fail without them.
        .target(
            name: "TestSupport",
            dependencies: ["OrderStore", "Postgres", "AMQP", "Redis", .logging, .subprocess],
            path: "Tests/TestSupport"
        ),
        .target(name: "SeededRandom", path: "Tests/SeededRandom"),
        .testTarget(name: "BackoffTests", dependencies: ["Backoff"]),
        .testTarget(
            name: "ConsumerTests",
            dependencies: [
                "Consumer", "AMQP", "EventTopology", "ServiceRuntime", "SeededRandom", .logging, .nioCore, .nioHTTP1,
            ]
        ),
        .testTarget(
            name: "DataPlatformTests",
            dependencies: [
                "DataPlatform", "WebhookSignature", "ServiceRuntime", "OpsMetrics",
                .hummingbird, .hummingbirdTesting, .logging,
            ]
        ),
        .testTarget(name: "OpsMetricsTests", dependencies: ["OpsMetrics"]),
        .testTarget(
            name: "OrderAPITests",
            dependencies: [
                "OrderAPI", "Operations", "OrderDomain", "OrderMessages", "EventTopology", "OpsMetrics", "Postgres",
                "AMQP", "Redis", "ServiceRuntime",
                .httpTypes, .hummingbird, .hummingbirdTesting, .logging, .nioCore, .nioEmbedded, .yams,
            ]
        ),
        .testTarget(
            name: "OrderCtlTests",
            dependencies: [
                "OrderCtl", "Operations", "AMQP", "EventTopology", "OrderDomain", "OrderMessages", "OrderStore",
                "SeededRandom",
                "ServiceRuntime", .argumentParser, .hummingbird, .hummingbirdTesting,
            ]
        ),
        .testTarget(name: "OrderDomainTests", dependencies: ["OrderDomain", "SeededRandom"]),
        .testTarget(name: "OrderMessagesTests", dependencies: ["OrderDomain", "OrderMessages", "SeededRandom"]),
        .testTarget(
            name: "ServiceRuntimeTests",
            dependencies: [
                "ServiceRuntime", "OpsMetrics", .httpTypes, .hummingbird, .hummingbirdTesting, .lifecycle, .logging,
                .nioCore,
            ]
        ),
        .testTarget(name: "ThreadExecutorTests", dependencies: ["ThreadExecutor"]),
        .testTarget(name: "TidyTests"),
        .testTarget(name: "WebhookSignatureTests", dependencies: ["WebhookSignature"]),
        // ---- real servers
        .testTarget(name: "AMQPTests", dependencies: ["AMQP", "SeededRandom", "TestSupport", .logging]),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres", "TestSupport", .logging]),
        .testTarget(
            name: "RankingTests",
            dependencies: [
                "OrderDomain", "OrderStore", "RankingBoard", "Postgres", "Redis", "SeededRandom", "TestSupport",
                .logging,
            ]
        ),
        .testTarget(name: "RedisTests", dependencies: ["Redis", "Backoff", "TestSupport", .logging]),
        .testTarget(
            name: "SchedulerTests",
            dependencies: [
                "Scheduler", "OpsMetrics", "OrderDomain", "OrderStore", "Postgres", "Redis", "ServiceRuntime",
                "TestSupport",
                .logging,
            ]
        ),
        .testTarget(name: "OrderStoreTests", dependencies: ["OrderDomain", "OrderStore", "Postgres", "TestSupport"]),
        .testTarget(
            name: "TLSTests",
            dependencies: ["AMQP", "Postgres", "Redis", "TestSupport", .logging]
        ),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "EventTopology", "Operations", "Postgres", "AMQP", "Redis", "SeededRandom", "TestSupport",
                .asyncHTTPClient, .logging, .nioCore, .nioHTTP1,
            ]
        ),
    ],
    swiftLanguageModes: [.v6]
)

for target in package.targets where target.type != .system {
    target.swiftSettings = strict
}
