//! A content store that remembers what it was given, and fails as the weather has it.

use std::sync::Arc;

use async_trait::async_trait;
use boxoffice::metadata::{Content, ContentId, PublishError, Publisher};
use tokio::time::sleep;

use super::world::World;

pub struct Shelf(pub Arc<World>);

#[async_trait]
impl Publisher for Shelf {
    async fn publish(&self, contents: Vec<Content>) -> Result<(), PublishError> {
        self.0.outlives("publish").await;
        let delay = self.0.state().random.ms(1, 50);
        sleep(delay).await;
        self.0.outlives("publish").await;
        let mut state = self.0.state();
        if state.strikes("failed publish") {
            return Err(PublishError::DiskFull);
        }
        state.published.extend(contents.iter().map(|content| content.id.uri()));
        Ok(())
    }

    async fn fetch(&self, _id: ContentId) -> Result<Option<Content>, PublishError> {
        Ok(None)
    }
}
