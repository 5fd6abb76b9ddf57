namespace Irpwright.Wdk;

public static partial class Constants
{
    public const uint REG_NONE = 0;
    public const uint REG_SZ = 1;
    public const uint REG_EXPAND_SZ = 2;
    public const uint REG_BINARY = 3;
    public const uint REG_DWORD = 4;
    public const uint REG_DWORD_BIG_ENDIAN = 5;
    public const uint REG_LINK = 6;
    public const uint REG_MULTI_SZ = 7;
    public const uint REG_QWORD = 11;
    public const uint REG_OPTION_NON_VOLATILE = 0;
    public const uint REG_OPTION_VOLATILE = 1;
    public const uint REG_OPTION_CREATE_LINK = 2;
    public const uint REG_OPTION_BACKUP_RESTORE = 4;
    public const uint REG_OPTION_OPEN_LINK = 8;
    public const uint REG_CREATED_NEW_KEY = 1;
    public const uint REG_OPENED_EXISTING_KEY = 2;
    public const uint KEY_QUERY_VALUE = 0x0001;
    public const uint KEY_SET_VALUE = 0x0002;
    public const uint KEY_CREATE_SUB_KEY = 0x0004;
    public const uint KEY_ENUMERATE_SUB_KEYS = 0x0008;
    public const uint KEY_NOTIFY = 0x0010;
    public const uint KEY_CREATE_LINK = 0x0020;
    public const uint KEY_READ = 0x00020019;
    public const uint KEY_WRITE = 0x00020006;
    public const uint KEY_ALL_ACCESS = 0x000F003F;

    // RTL_QUERY_REGISTRY_TABLE.Flags
    public const uint RTL_QUERY_REGISTRY_SUBKEY = 0x001;
    public const uint RTL_QUERY_REGISTRY_TOPKEY = 0x002;
    public const uint RTL_QUERY_REGISTRY_REQUIRED = 0x004;
    public const uint RTL_QUERY_REGISTRY_NOVALUE = 0x008;
    public const uint RTL_QUERY_REGISTRY_NOEXPAND = 0x010;
    public const uint RTL_QUERY_REGISTRY_DIRECT = 0x020;
    public const uint RTL_QUERY_REGISTRY_DELETE = 0x040;
    public const uint RTL_QUERY_REGISTRY_TYPECHECK = 0x100;

    // What a registry path is relative to (RtlQueryRegistryValues)
    public const uint RTL_REGISTRY_ABSOLUTE = 0;
    public const uint RTL_REGISTRY_SERVICES = 1;
    public const uint RTL_REGISTRY_CONTROL = 2;
    public const uint RTL_REGISTRY_WINDOWS_NT = 3;
    public const uint RTL_REGISTRY_DEVICEMAP = 4;
    public const uint RTL_REGISTRY_USER = 5;
    public const uint RTL_REGISTRY_HANDLE = 0x40000000;
    public const uint RTL_REGISTRY_OPTIONAL = 0x80000000;

    // What ZwNotifyChangeKey waits for.
    public const uint REG_NOTIFY_CHANGE_NAME = 0x1;
    public const uint REG_NOTIFY_CHANGE_ATTRIBUTES = 0x2;
    public const uint REG_NOTIFY_CHANGE_LAST_SET = 0x4;
    public const uint REG_NOTIFY_CHANGE_SECURITY = 0x8;
}

/// <summary>What is asked about a registry key.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ne-wdm-_key_information_class"/>
public enum KEY_INFORMATION_CLASS
{
    KeyBasicInformation,
    KeyNodeInformation,
    KeyFullInformation,
    KeyNameInformation,
    KeyCachedInformation,
    KeyFlagsInformation,
    KeyVirtualizationInformation,
    KeyHandleTagsInformation,
    KeyTrustInformation,
    KeyLayerInformation,
}

/// <summary>What is asked about a registry value.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ne-wdm-_key_value_information_class"/>
public enum KEY_VALUE_INFORMATION_CLASS
{
    KeyValueBasicInformation,
    KeyValueFullInformation,
    KeyValuePartialInformation,
    KeyValueFullInformationAlign64,
    KeyValuePartialInformationAlign64,
    KeyValueLayerInformation,
}

/// <summary>Which of a driver's keys.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ne-wdm-driver_regkey_type"/>
public enum DRIVER_REGKEY_TYPE
{
    DriverRegKeyParameters,
    DriverRegKeyPersistentState,
    DriverRegKeySharedPersistentState,
}

/// <summary>What a RegistryCallback routine is told of, before (Pre) and after (Post) it happens.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ne-wdm-_reg_notify_class"/>
public enum REG_NOTIFY_CLASS
{
    RegNtPreDeleteKey = 0,
    RegNtPreSetValueKey = 1,
    RegNtPreDeleteValueKey = 2,
    RegNtPreSetInformationKey = 3,
    RegNtPreRenameKey = 4,
    RegNtPreEnumerateKey = 5,
    RegNtPreEnumerateValueKey = 6,
    RegNtPreQueryKey = 7,
    RegNtPreQueryValueKey = 8,
    RegNtPreQueryMultipleValueKey = 9,
    RegNtPreCreateKey = 10,
    RegNtPostCreateKey = 11,
    RegNtPreOpenKey = 12,
    RegNtPostOpenKey = 13,
    RegNtPreKeyHandleClose = 14,
    RegNtPostDeleteKey = 15,
    RegNtPostSetValueKey = 16,
    RegNtPostDeleteValueKey = 17,
    RegNtPostSetInformationKey = 18,
    RegNtPostRenameKey = 19,
    RegNtPostEnumerateKey = 20,
    RegNtPostEnumerateValueKey = 21,
    RegNtPostQueryKey = 22,
    RegNtPostQueryValueKey = 23,
    RegNtPostQueryMultipleValueKey = 24,
    RegNtPostKeyHandleClose = 25,
    RegNtPreCreateKeyEx = 26,
    RegNtPostCreateKeyEx = 27,
    RegNtPreOpenKeyEx = 28,
    RegNtPostOpenKeyEx = 29,
    RegNtPreFlushKey = 30,
    RegNtPostFlushKey = 31,
}
