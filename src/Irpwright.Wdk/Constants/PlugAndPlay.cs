namespace Irpwright.Wdk;

public enum DEVICE_RELATION_TYPE
{
    BusRelations,
    EjectionRelations,
    PowerRelations,
    RemovalRelations,
    TargetDeviceRelation,
    SingleBusRelations,
    TransportRelations,
}

public enum BUS_QUERY_ID_TYPE
{
    BusQueryDeviceID = 0,
    BusQueryHardwareIDs = 1,
    BusQueryCompatibleIDs = 2,
    BusQueryInstanceID = 3,
    BusQueryDeviceSerialNumber = 4,
    BusQueryContainerID = 5,
}

public enum DEVICE_TEXT_TYPE
{
    DeviceTextDescription = 0,
    DeviceTextLocationInformation = 1,
}

public enum DEVICE_USAGE_NOTIFICATION_TYPE
{
    DeviceUsageTypeUndefined,
    DeviceUsageTypePaging,
    DeviceUsageTypeHibernation,
    DeviceUsageTypeDumpFile,
    DeviceUsageTypeBoot,
    DeviceUsageTypePostDisplay,
    DeviceUsageTypeGuestAssigned,
}

/// <summary>The bit fields at offset 4 of DEVICE_CAPABILITIES, by their names in the WDK.</summary>
[Flags]
public enum DEVICE_CAPABILITY_FLAGS : uint
{
    DeviceD1 = 1 << 0,
    DeviceD2 = 1 << 1,
    LockSupported = 1 << 2,
    EjectSupported = 1 << 3,
    Removable = 1 << 4,
    DockDevice = 1 << 5,
    UniqueID = 1 << 6,
    SilentInstall = 1 << 7,
    RawDeviceOK = 1 << 8,
    SurpriseRemovalOK = 1 << 9,
    WakeFromD0 = 1 << 10,
    WakeFromD1 = 1 << 11,
    WakeFromD2 = 1 << 12,
    WakeFromD3 = 1 << 13,
    HardwareDisabled = 1 << 14,
    NonDynamic = 1 << 15,
    WarmEjectSupported = 1 << 16,
    NoDisplayInUI = 1 << 17,
    Reserved1 = 1 << 18,
    WakeFromInterrupt = 1 << 19,
}

/// <summary>Answer to IRP_MN_QUERY_PNP_DEVICE_STATE.</summary>
[Flags]
public enum PNP_DEVICE_STATE : uint
{
    PNP_DEVICE_DISABLED = 0x00000001,
    PNP_DEVICE_DONT_DISPLAY_IN_UI = 0x00000002,
    PNP_DEVICE_FAILED = 0x00000004,
    PNP_DEVICE_REMOVED = 0x00000008,
    PNP_DEVICE_RESOURCE_REQUIREMENTS_CHANGED = 0x00000010,
    PNP_DEVICE_NOT_DISABLEABLE = 0x00000020,
    PNP_DEVICE_DISCONNECTED = 0x00000040,
}

/// <summary>What <c>IoGetDeviceProperty</c> asks for.</summary>
public enum DEVICE_REGISTRY_PROPERTY
{
    DevicePropertyDeviceDescription = 0x00,
    DevicePropertyHardwareID = 0x01,
    DevicePropertyCompatibleIDs = 0x02,
    DevicePropertyBootConfiguration = 0x03,
    DevicePropertyBootConfigurationTranslated = 0x04,
    DevicePropertyClassName = 0x05,
    DevicePropertyClassGuid = 0x06,
    DevicePropertyDriverKeyName = 0x07,
    DevicePropertyManufacturer = 0x08,
    DevicePropertyFriendlyName = 0x09,
    DevicePropertyLocationInformation = 0x0A,
    DevicePropertyPhysicalDeviceObjectName = 0x0B,
    DevicePropertyBusTypeGuid = 0x0C,
    DevicePropertyLegacyBusType = 0x0D,
    DevicePropertyBusNumber = 0x0E,
    DevicePropertyEnumeratorName = 0x0F,
    DevicePropertyAddress = 0x10,
    DevicePropertyUINumber = 0x11,
    DevicePropertyInstallState = 0x12,
    DevicePropertyRemovalPolicy = 0x13,
    DevicePropertyResourceRequirements = 0x14,
    DevicePropertyAllocatedResources = 0x15,
    DevicePropertyContainerID = 0x16,
}

/// <summary>What <c>IoRegisterPlugPlayNotification</c> notifies about.</summary>
public enum IO_NOTIFICATION_EVENT_CATEGORY
{
    EventCategoryReserved,
    EventCategoryHardwareProfileChange,
    EventCategoryDeviceInterfaceChange,
    EventCategoryTargetDeviceChange,
}

/// <summary>Why a device does not work: what Device Manager shows as a code.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/install/device-manager-error-messages"/>
public enum CM_PROB
{
    None = 0,
    CM_PROB_NOT_CONFIGURED = 1,
    CM_PROB_FAILED_START = 10,
    CM_PROB_NORMAL_CONFLICT = 12,
    CM_PROB_WILL_BE_REMOVED = 21,
    CM_PROB_DISABLED = 22,
    CM_PROB_DEVICE_NOT_THERE = 24,
    CM_PROB_FAILED_INSTALL = 28,
    CM_PROB_FAILED_ADD = 31,
    CM_PROB_DRIVER_FAILED_PRIOR_UNLOAD = 38,
    CM_PROB_DRIVER_FAILED_LOAD = 39,
    CM_PROB_FAILED_POST_START = 43,
    CM_PROB_HELD_FOR_EJECT = 47,
}

/// <summary>Answer to <c>DevicePropertyInstallState</c>.</summary>
public enum DEVICE_INSTALL_STATE
{
    InstallStateInstalled,
    InstallStateNeedsReinstall,
    InstallStateFailedInstall,
    InstallStateFinishInstall,
}

/// <summary>Answer to <c>DevicePropertyRemovalPolicy</c>.</summary>
public enum DEVICE_REMOVAL_POLICY
{
    RemovalPolicyExpectNoRemoval = 1,
    RemovalPolicyExpectOrderlyRemoval = 2,
    RemovalPolicyExpectSurpriseRemoval = 3,
}

public enum INTERFACE_TYPE
{
    InterfaceTypeUndefined = -1,
    Internal,
    Isa,
    Eisa,
    MicroChannel,
    TurboChannel,
    PCIBus,
    VMEBus,
    NuBus,
    PCMCIABus,
    CBus,
    MPIBus,
    MPSABus,
    ProcessorInternal,
    InternalPowerBus,
    PNPISABus,
    PNPBus,
    Vmcs,
    ACPIBus,
    MaximumInterfaceType,
}

public static partial class Constants
{
    // Events that the PnP manager notifies about (wdmguid.h)
    public static readonly Guid GUID_DEVICE_INTERFACE_ARRIVAL = new("cb3a4004-46f0-11d0-b08f-00609713053f");
    public static readonly Guid GUID_DEVICE_INTERFACE_REMOVAL = new("cb3a4005-46f0-11d0-b08f-00609713053f");
    public static readonly Guid GUID_TARGET_DEVICE_QUERY_REMOVE = new("cb3a4006-46f0-11d0-b08f-00609713053f");
    public static readonly Guid GUID_TARGET_DEVICE_REMOVE_CANCELLED = new("cb3a4007-46f0-11d0-b08f-00609713053f");
    public static readonly Guid GUID_TARGET_DEVICE_REMOVE_COMPLETE = new("cb3a4008-46f0-11d0-b08f-00609713053f");

    // CM_PARTIAL_RESOURCE_DESCRIPTOR.Type
    public const byte CmResourceTypeNull = 0;
    public const byte CmResourceTypePort = 1;
    public const byte CmResourceTypeInterrupt = 2;
    public const byte CmResourceTypeMemory = 3;
    public const byte CmResourceTypeDma = 4;
    public const byte CmResourceTypeDeviceSpecific = 5;
    public const byte CmResourceTypeBusNumber = 6;

    public const uint PLUGPLAY_REGKEY_DEVICE = 1;
    public const uint PLUGPLAY_REGKEY_DRIVER = 2;
    public const uint PLUGPLAY_REGKEY_CURRENT_HWPROFILE = 4;
    public const uint PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES = 1;
    public const uint DEVICE_INTERFACE_INCLUDE_NONACTIVE = 1;
}
