//! Maven groups of artifacts whose jars do not name theirs. Those that Gradle builds have no
//! pom.properties, and a module's name (`spring.core`) is not a group: scanners look
//! vulnerabilities up by the group, so a wrong one hides them.

/// Groups by how the names of their artifacts begin; the first that fits counts.
const BEGINNINGS: [(&str, &str); 18] = [
    ("spring-boot", "org.springframework.boot"),
    ("spring-security-", "org.springframework.security"),
    ("spring-data-", "org.springframework.data"),
    ("spring-cloud-", "org.springframework.cloud"),
    ("spring-integration-", "org.springframework.integration"),
    ("spring-batch-", "org.springframework.batch"),
    ("spring-session-", "org.springframework.session"),
    ("spring-ldap-", "org.springframework.ldap"),
    ("spring-ws-", "org.springframework.ws"),
    ("spring-restdocs-", "org.springframework.restdocs"),
    ("spring-statemachine-", "org.springframework.statemachine"),
    ("spring-graphql", "org.springframework.graphql"),
    ("spring-kafka", "org.springframework.kafka"),
    ("spring-rabbit", "org.springframework.amqp"),
    ("micrometer-", "io.micrometer"),
    ("tomcat-embed-", "org.apache.tomcat.embed"),
    ("tomcat-", "org.apache.tomcat"),
    ("reactor-netty", "io.projectreactor.netty"),
];

/// Groups of single artifacts.
const NAMES: [(&str, &str); 9] = [
    ("spring-amqp", "org.springframework.amqp"),
    ("spring-hateoas", "org.springframework.hateoas"),
    ("spring-retry", "org.springframework.retry"),
    ("spring-web-services", "org.springframework.ws"),
    ("reactor-core", "io.projectreactor"),
    ("kafka-clients", "org.apache.kafka"),
    ("kafka-streams", "org.apache.kafka"),
    ("groovy", "org.apache.groovy"),
    ("hibernate-core", "org.hibernate.orm"),
];

/// The parts of the Spring Framework.
const SPRING: [&str; 23] = [
    "aop",
    "aspects",
    "beans",
    "context",
    "context-indexer",
    "context-support",
    "core",
    "core-test",
    "expression",
    "instrument",
    "jcl",
    "jdbc",
    "jms",
    "messaging",
    "orm",
    "oxm",
    "r2dbc",
    "test",
    "tx",
    "web",
    "webflux",
    "webmvc",
    "websocket",
];

/// The group of a well-known artifact.
pub(super) fn group_of(artifact: &str) -> Option<&'static str> {
    if artifact.strip_prefix("spring-").is_some_and(|part| SPRING.contains(&part)) {
        return Some("org.springframework");
    }
    let single = NAMES.iter().find(|(name, _)| *name == artifact);
    single.or_else(|| BEGINNINGS.iter().find(|(start, _)| artifact.starts_with(start))).map(|(_, group)| *group)
}
