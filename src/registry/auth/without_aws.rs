//! What stands for AWS in a program without the feature `aws`: there is no identity to ask ECR
//! with.

pub(super) mod ecr {
    use std::sync::Arc;

    use crate::error::Result;
    use crate::registry::auth::Credential;
    use crate::registry::environment::Environment;
    use crate::registry::transport::Transport;

    pub(in crate::registry::auth) async fn credential(
        _registry: &str,
        _environment: &Environment,
        _transport: &Arc<Transport>,
    ) -> Result<Option<Credential>> {
        Ok(None)
    }
}
