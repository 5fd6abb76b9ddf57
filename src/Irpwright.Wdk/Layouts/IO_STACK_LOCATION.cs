using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One driver's parameters of a request. Locations lie behind their IRP, the highest driver's last.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_stack_location"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_STACK_LOCATION
{
    public const int SizeOf = 0x48;

    [FieldOffset(0x00)] public byte MajorFunction; // IRP_MJ_*
    [FieldOffset(0x01)] public byte MinorFunction; // IRP_MN_*
    [FieldOffset(0x02)] public SL_FLAGS Flags;
    [FieldOffset(0x03)] public SL_CONTROL Control;
    [FieldOffset(0x08)] public ParametersUnion Parameters;
    [FieldOffset(0x28)] public PDEVICE_OBJECT DeviceObject;
    [FieldOffset(0x30)] public PFILE_OBJECT FileObject;
    [FieldOffset(0x38)] public PIO_COMPLETION_ROUTINE CompletionRoutine; // of the driver above
    [FieldOffset(0x40)] public PVOID Context;

    /// <summary>By major function. A 32-bit member that follows another lies on the next 8-byte boundary.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct ParametersUnion
    {
        [FieldOffset(0x00)] public CreateParameters Create;
        [FieldOffset(0x00)] public CreatePipeParameters CreatePipe;
        [FieldOffset(0x00)] public CreateMailslotParameters CreateMailslot;
        [FieldOffset(0x00)] public ReadParameters Read;
        [FieldOffset(0x00)] public WriteParameters Write;
        [FieldOffset(0x00)] public QueryDirectoryParameters QueryDirectory;
        [FieldOffset(0x00)] public NotifyDirectoryParameters NotifyDirectory;
        [FieldOffset(0x00)] public QueryFileParameters QueryFile;
        [FieldOffset(0x00)] public SetFileParameters SetFile;
        [FieldOffset(0x00)] public QueryEaParameters QueryEa;
        [FieldOffset(0x00)] public SetEaParameters SetEa;
        [FieldOffset(0x00)] public QueryVolumeParameters QueryVolume;
        [FieldOffset(0x00)] public SetVolumeParameters SetVolume;
        [FieldOffset(0x00)] public FileSystemControlParameters FileSystemControl;
        [FieldOffset(0x00)] public LockControlParameters LockControl;
        [FieldOffset(0x00)] public DeviceIoControlParameters DeviceIoControl;
        [FieldOffset(0x00)] public QuerySecurityParameters QuerySecurity;
        [FieldOffset(0x00)] public SetSecurityParameters SetSecurity;
        [FieldOffset(0x00)] public MountVolumeParameters MountVolume;
        [FieldOffset(0x00)] public VerifyVolumeParameters VerifyVolume;
        [FieldOffset(0x00)] public ScsiParameters Scsi;
        [FieldOffset(0x00)] public QueryDeviceRelationsParameters QueryDeviceRelations;
        [FieldOffset(0x00)] public QueryInterfaceParameters QueryInterface;
        [FieldOffset(0x00)] public DeviceCapabilitiesParameters DeviceCapabilities;
        [FieldOffset(0x00)] public FilterResourceRequirementsParameters FilterResourceRequirements;
        [FieldOffset(0x00)] public ReadWriteConfigParameters ReadWriteConfig;
        [FieldOffset(0x00)] public SetLockParameters SetLock;
        [FieldOffset(0x00)] public QueryIdParameters QueryId;
        [FieldOffset(0x00)] public QueryDeviceTextParameters QueryDeviceText;
        [FieldOffset(0x00)] public UsageNotificationParameters UsageNotification;
        [FieldOffset(0x00)] public WaitWakeParameters WaitWake;
        [FieldOffset(0x00)] public PowerSequenceParameters PowerSequence;
        [FieldOffset(0x00)] public PowerParameters Power;
        [FieldOffset(0x00)] public StartDeviceParameters StartDevice;
        [FieldOffset(0x00)] public WMIParameters WMI;
        [FieldOffset(0x00)] public OthersParameters Others;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct CreateParameters
    {
        [FieldOffset(0x00)] public PIO_SECURITY_CONTEXT SecurityContext;
        [FieldOffset(0x08)] public uint Options; // disposition in the top byte, FILE_* options below
        [FieldOffset(0x10)] public ushort FileAttributes;
        [FieldOffset(0x12)] public ushort ShareAccess;
        [FieldOffset(0x18)] public uint EaLength;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct CreatePipeParameters
    {
        [FieldOffset(0x00)] public PIO_SECURITY_CONTEXT SecurityContext;
        [FieldOffset(0x08)] public uint Options;
        [FieldOffset(0x10)] public ushort Reserved;
        [FieldOffset(0x12)] public ushort ShareAccess;
        [FieldOffset(0x18)] public PVOID Parameters; // NAMED_PIPE_CREATE_PARAMETERS
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct CreateMailslotParameters
    {
        [FieldOffset(0x00)] public PIO_SECURITY_CONTEXT SecurityContext;
        [FieldOffset(0x08)] public uint Options;
        [FieldOffset(0x10)] public ushort Reserved;
        [FieldOffset(0x12)] public ushort ShareAccess;
        [FieldOffset(0x18)] public PVOID Parameters; // MAILSLOT_CREATE_PARAMETERS
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x18)]
    public struct ReadParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public uint Key;
        [FieldOffset(0x10)] public long ByteOffset;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x18)]
    public struct WriteParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public uint Key;
        [FieldOffset(0x10)] public long ByteOffset;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct QueryDirectoryParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public PUNICODE_STRING FileName;
        [FieldOffset(0x10)] public FILE_INFORMATION_CLASS FileInformationClass;
        [FieldOffset(0x18)] public uint FileIndex;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct NotifyDirectoryParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public uint CompletionFilter;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct QueryFileParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public FILE_INFORMATION_CLASS FileInformationClass;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct SetFileParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public FILE_INFORMATION_CLASS FileInformationClass;
        [FieldOffset(0x10)] public PFILE_OBJECT FileObject;
        [FieldOffset(0x18)] public BOOLEAN ReplaceIfExists;
        [FieldOffset(0x19)] public BOOLEAN AdvanceOnly;
        [FieldOffset(0x18)] public uint ClusterCount;
        [FieldOffset(0x18)] public HANDLE DeleteHandle;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct QueryEaParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public PVOID EaList;
        [FieldOffset(0x10)] public uint EaListLength;
        [FieldOffset(0x18)] public uint EaIndex;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct SetEaParameters
    {
        [FieldOffset(0x00)] public uint Length;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct QueryVolumeParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public FS_INFORMATION_CLASS FsInformationClass;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct SetVolumeParameters
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x08)] public FS_INFORMATION_CLASS FsInformationClass;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct FileSystemControlParameters
    {
        [FieldOffset(0x00)] public uint OutputBufferLength;
        [FieldOffset(0x08)] public uint InputBufferLength;
        [FieldOffset(0x10)] public uint FsControlCode;
        [FieldOffset(0x18)] public PVOID Type3InputBuffer;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x18)]
    public struct LockControlParameters
    {
        [FieldOffset(0x00)] public PLARGE_INTEGER Length;
        [FieldOffset(0x08)] public uint Key;
        [FieldOffset(0x10)] public long ByteOffset;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct DeviceIoControlParameters
    {
        [FieldOffset(0x00)] public uint OutputBufferLength;
        [FieldOffset(0x08)] public uint InputBufferLength;
        [FieldOffset(0x10)] public uint IoControlCode;
        [FieldOffset(0x18)] public PVOID Type3InputBuffer;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct QuerySecurityParameters
    {
        [FieldOffset(0x00)] public uint SecurityInformation;
        [FieldOffset(0x08)] public uint Length;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct SetSecurityParameters
    {
        [FieldOffset(0x00)] public uint SecurityInformation;
        [FieldOffset(0x08)] public PVOID SecurityDescriptor;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct MountVolumeParameters
    {
        [FieldOffset(0x00)] public PVPB Vpb;
        [FieldOffset(0x08)] public PDEVICE_OBJECT DeviceObject;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct VerifyVolumeParameters
    {
        [FieldOffset(0x00)] public PVPB Vpb;
        [FieldOffset(0x08)] public PDEVICE_OBJECT DeviceObject;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct ScsiParameters
    {
        [FieldOffset(0x00)] public PSCSI_REQUEST_BLOCK Srb;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct QueryDeviceRelationsParameters
    {
        [FieldOffset(0x00)] public DEVICE_RELATION_TYPE Type;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct QueryInterfaceParameters
    {
        [FieldOffset(0x00)] public PGUID InterfaceType;
        [FieldOffset(0x08)] public ushort Size;
        [FieldOffset(0x0A)] public ushort Version;
        [FieldOffset(0x10)] public PINTERFACE Interface;
        [FieldOffset(0x18)] public PVOID InterfaceSpecificData;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct DeviceCapabilitiesParameters
    {
        [FieldOffset(0x00)] public PDEVICE_CAPABILITIES Capabilities;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct FilterResourceRequirementsParameters
    {
        [FieldOffset(0x00)] public PIO_RESOURCE_REQUIREMENTS_LIST IoResourceRequirementList;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct ReadWriteConfigParameters
    {
        [FieldOffset(0x00)] public uint WhichSpace;
        [FieldOffset(0x08)] public PVOID Buffer;
        [FieldOffset(0x10)] public uint Offset;
        [FieldOffset(0x18)] public uint Length;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct SetLockParameters
    {
        [FieldOffset(0x00)] public BOOLEAN Lock;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct QueryIdParameters
    {
        [FieldOffset(0x00)] public BUS_QUERY_ID_TYPE IdType;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct QueryDeviceTextParameters
    {
        [FieldOffset(0x00)] public DEVICE_TEXT_TYPE DeviceTextType;
        [FieldOffset(0x08)] public uint LocaleId;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct UsageNotificationParameters
    {
        [FieldOffset(0x00)] public BOOLEAN InPath;
        [FieldOffset(0x08)] public DEVICE_USAGE_NOTIFICATION_TYPE Type;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct WaitWakeParameters
    {
        [FieldOffset(0x00)] public SYSTEM_POWER_STATE PowerState;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x08)]
    public struct PowerSequenceParameters
    {
        [FieldOffset(0x00)] public PPOWER_SEQUENCE PowerSequence;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct PowerParameters
    {
        [FieldOffset(0x00)] public uint SystemContext;
        [FieldOffset(0x00)] public uint SystemPowerStateContext; // bit fields
        [FieldOffset(0x08)] public POWER_STATE_TYPE Type;
        [FieldOffset(0x10)] public POWER_STATE State;
        [FieldOffset(0x18)] public POWER_ACTION ShutdownType;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct StartDeviceParameters
    {
        [FieldOffset(0x00)] public PCM_RESOURCE_LIST AllocatedResources;
        [FieldOffset(0x08)] public PCM_RESOURCE_LIST AllocatedResourcesTranslated;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct WMIParameters
    {
        [FieldOffset(0x00)] public ulong ProviderId;
        [FieldOffset(0x08)] public PVOID DataPath;
        [FieldOffset(0x10)] public uint BufferSize;
        [FieldOffset(0x18)] public PVOID Buffer;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x20)]
    public struct OthersParameters
    {
        [FieldOffset(0x00)] public PVOID Argument1;
        [FieldOffset(0x08)] public PVOID Argument2;
        [FieldOffset(0x10)] public PVOID Argument3;
        [FieldOffset(0x18)] public PVOID Argument4;
    }
}
