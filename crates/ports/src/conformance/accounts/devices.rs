//! Device credentials.

use super::{
    AccountsFactory,
    fixture::{device, hash, list_credentials},
};
use crate::DeviceCredentialPage;

pub async fn a_device_s_credential_is_kept_and_replaced(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let put = accounts.put_device_credential(&device("samu31"), &hash("$scrypt$1")).await.unwrap();
    assert_eq!((&put.device, &put.secret_hash), (&device("samu31"), &Some(hash("$scrypt$1"))));
    assert!(put.created_at_ms > 1_700_000_000_000 && put.updated_at_ms == put.created_at_ms);
    assert_eq!(accounts.device_credential(&device("samu31")).await.unwrap(), Some(put.clone()));
    let again = accounts.put_device_credential(&device("samu31"), &hash("$scrypt$2")).await.unwrap();
    assert_eq!((&again.secret_hash, again.created_at_ms), (&Some(hash("$scrypt$2")), put.created_at_ms));
    assert!(again.updated_at_ms >= put.updated_at_ms);
    assert_eq!(accounts.device_credential(&device("samu31")).await.unwrap(), Some(again));
}

pub async fn a_revoked_credential_stays_without_a_secret(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let samu = device("samu31");
    accounts.put_device_credential(&samu, &hash("$scrypt$1")).await.unwrap();
    let other = accounts.put_device_credential(&device("other"), &hash("$scrypt$2")).await.unwrap();
    let revoked = accounts.revoke_device_credential(&samu).await.unwrap().unwrap();
    assert_eq!((&revoked.device, &revoked.secret_hash), (&samu, &None));
    assert_eq!(accounts.device_credential(&samu).await.unwrap(), Some(revoked.clone()));
    assert_eq!(accounts.revoke_device_credential(&samu).await.unwrap(), Some(revoked));
    assert_eq!(accounts.device_credential(&device("other")).await.unwrap(), Some(other));
    let put = accounts.put_device_credential(&samu, &hash("$scrypt$3")).await.unwrap();
    assert_eq!(accounts.device_credential(&samu).await.unwrap(), Some(put.clone()));
    assert_eq!(put.secret_hash, Some(hash("$scrypt$3")));
}

pub async fn a_device_without_a_credential_has_none_to_revoke(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    accounts.put_device_credential(&device("samu31"), &hash("$scrypt$1")).await.unwrap();
    for name in ["samu3", "SAMU31", "default"] {
        assert_eq!(accounts.device_credential(&device(name)).await.unwrap(), None);
        assert_eq!(accounts.revoke_device_credential(&device(name)).await.unwrap(), None);
    }
}

pub async fn credentials_are_listed_page_by_page_in_the_order_of_bytes(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    assert_eq!(accounts.device_credentials(None, 5).await.unwrap(), DeviceCredentialPage::default());
    let names = ["b", "a", "B", "A", "_", "-", ".", "a-b", "ab", "aB", "a.b", "10", "9"];
    for name in names {
        accounts.put_device_credential(&device(name), &hash(name)).await.unwrap();
    }
    accounts.revoke_device_credential(&device("ab")).await.unwrap();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    for page_max in [1, 4, 13, 14] {
        let listed = list_credentials(&*accounts, page_max).await;
        assert_eq!(listed.iter().map(|held| held.device.as_str()).collect::<Vec<_>>(), expected, "of {page_max}");
        for held in listed {
            assert_eq!(accounts.device_credential(&held.device).await.unwrap(), Some(held));
        }
    }
    assert_eq!(accounts.device_credentials(Some(&device("b")), 5).await.unwrap(), DeviceCredentialPage::default());
}
