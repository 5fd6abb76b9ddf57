namespace Irpwright.Wdk;

public enum SYSTEM_POWER_STATE
{
    PowerSystemUnspecified = 0,
    PowerSystemWorking = 1,
    PowerSystemSleeping1 = 2,
    PowerSystemSleeping2 = 3,
    PowerSystemSleeping3 = 4,
    PowerSystemHibernate = 5,
    PowerSystemShutdown = 6,
    PowerSystemMaximum = 7,
}

public enum DEVICE_POWER_STATE
{
    PowerDeviceUnspecified = 0,
    PowerDeviceD0 = 1,
    PowerDeviceD1 = 2,
    PowerDeviceD2 = 3,
    PowerDeviceD3 = 4,
    PowerDeviceMaximum = 5,
}

public enum POWER_STATE_TYPE
{
    SystemPowerState = 0,
    DevicePowerState = 1,
}

public enum POWER_ACTION
{
    PowerActionNone = 0,
    PowerActionReserved = 1,
    PowerActionSleep = 2,
    PowerActionHibernate = 3,
    PowerActionShutdown = 4,
    PowerActionShutdownReset = 5,
    PowerActionShutdownOff = 6,
    PowerActionWarmEject = 7,
    PowerActionDisplayOff = 8,
}

public static partial class Constants
{
    // PoRegisterSystemState, PoSetSystemState
    public const uint ES_SYSTEM_REQUIRED = 0x00000001;
    public const uint ES_DISPLAY_REQUIRED = 0x00000002;
    public const uint ES_USER_PRESENT = 0x00000004;
    public const uint ES_CONTINUOUS = 0x80000000;

    // PoRegisterPowerSettingCallback
    public static readonly Guid GUID_ACDC_POWER_SOURCE = new("5d3e9a59-e9d5-4b00-a6bd-ff34ff516548");
    public static readonly Guid GUID_LIDSWITCH_STATE_CHANGE = new("ba3e0f4d-b817-4094-a2d1-d56379e6a0f3");
    public static readonly Guid GUID_MONITOR_POWER_ON = new("02731015-4510-4526-99e6-e5a17ebd1aea");
    public static readonly Guid GUID_CONSOLE_DISPLAY_STATE = new("6fe69556-704a-47a0-8f24-c28d936fda47");
    public static readonly Guid GUID_BATTERY_PERCENTAGE_REMAINING = new("a7ad8041-b45a-4cae-87a3-eecbb468a9e1");
    public static readonly Guid GUID_SYSTEM_AWAYMODE = new("98a7f580-01f7-48aa-9c0f-44352c29e5c0");

    /// <summary><c>PO_FX_DEVICE.Version</c> of a PO_FX_DEVICE_V1.</summary>
    public const uint PO_FX_VERSION_V1 = 1;

    /// <summary>PoFxActivateComponent returns when the component is active; IRQL &lt; DISPATCH_LEVEL.</summary>
    public const uint PO_FX_FLAG_BLOCKING = 1;

    /// <summary>The driver's routines are called in another thread.</summary>
    public const uint PO_FX_FLAG_ASYNC_ONLY = 2;
}
