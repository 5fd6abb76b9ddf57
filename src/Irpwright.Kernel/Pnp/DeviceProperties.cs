using System.Runtime.InteropServices;
using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What is known of a device: from its bus driver, from its installation, and what drivers keep with it.</summary>
public sealed class DeviceProperties
{
    const uint DevPropTypeEmpty = 0;

    readonly Machine machine;
    readonly Lock gate = new();

    internal DeviceProperties(Machine machine) => this.machine = machine;

    /// <summary>Information about a device. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="BufferLength">Bytes at <paramref name="PropertyBuffer"/>.</param>
    /// <param name="ResultLength">Bytes that the property has.</param>
    /// <returns>
    /// STATUS_BUFFER_TOO_SMALL; STATUS_INVALID_PARAMETER_2 for a property that does not exist; STATUS_OBJECT_NAME_NOT_FOUND for one that the
    /// device has not; STATUS_INVALID_DEVICE_REQUEST when the device object is no PDO.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoGetDeviceProperty(PDEVICE_OBJECT DeviceObject, DEVICE_REGISTRY_PROPERTY DeviceProperty, uint BufferLength, PVOID PropertyBuffer, out uint ResultLength)
    {
        ResultLength = 0;
        if (machine.PlugAndPlay.Find(DeviceObject) is not { } node) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        if (DeviceProperty is < 0 or > DEVICE_REGISTRY_PROPERTY.DevicePropertyContainerID) return NTSTATUS.STATUS_INVALID_PARAMETER_2;
        byte[]? value = ValueOf(node, DeviceProperty);
        if (value is null) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        ResultLength = (uint)value.Length;
        if (value.Length > BufferLength) return NTSTATUS.STATUS_BUFFER_TOO_SMALL;
        value.CopyTo(GuestMemory.Write(PropertyBuffer.Address, value.Length));
        return NTSTATUS.STATUS_SUCCESS;
    }

    byte[]? ValueOf(DeviceNode node, DEVICE_REGISTRY_PROPERTY property)
    {
        DeviceInstallation? installation = node.Installation;
        return property switch
        {
            DEVICE_REGISTRY_PROPERTY.DevicePropertyDeviceDescription => Text(installation?.Description ?? node.Description),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyHardwareID => Texts(node.HardwareIds),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyCompatibleIDs => Texts(node.CompatibleIds),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyBootConfiguration or DEVICE_REGISTRY_PROPERTY.DevicePropertyBootConfigurationTranslated => Bytes(node.BootResources),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyClassName => Text(installation?.ClassName),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyClassGuid => installation is null || installation.ClassGuid == default ? null : Text($"{{{installation.ClassGuid}}}"),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyDriverKeyName => installation is null || installation.ClassGuid == default ? null : Text($@"{{{installation.ClassGuid}}}\0000"),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyManufacturer => Text(installation?.Manufacturer),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyFriendlyName => Text(installation?.FriendlyName),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyLocationInformation => Text(node.Location),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyPhysicalDeviceObjectName => Text((node.PhysicalDevice.Flags & DO_DEVICE_HAS_NAME) != 0 ? machine.Objects.NameOf(node.PhysicalDevice) : ""),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyBusTypeGuid => node.BusInformation is { } bus ? bus.BusTypeGuid.ToByteArray() : null,
            DEVICE_REGISTRY_PROPERTY.DevicePropertyLegacyBusType => node.BusInformation is { } bus ? Number((uint)bus.LegacyBusType) : null,
            DEVICE_REGISTRY_PROPERTY.DevicePropertyBusNumber => node.BusInformation is { } bus ? Number(bus.BusNumber) : null,
            DEVICE_REGISTRY_PROPERTY.DevicePropertyEnumeratorName => Text(node.DeviceId.Split('\\')[0]),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyAddress => Number(node.Capabilities.Address),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyUINumber => Number(node.Capabilities.UINumber),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyInstallState => Number((uint)(installation is null ? DEVICE_INSTALL_STATE.InstallStateFailedInstall : DEVICE_INSTALL_STATE.InstallStateInstalled)),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyRemovalPolicy => Number((uint)PolicyOf(node)),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyResourceRequirements => Bytes(node.ResourceRequirements),
            DEVICE_REGISTRY_PROPERTY.DevicePropertyAllocatedResources => Bytes(node.AllocatedResources),
            _ => Text(node.ContainerId),
        };
    }

    static DEVICE_REMOVAL_POLICY PolicyOf(DeviceNode node)
    {
        DEVICE_CAPABILITY_FLAGS flags = node.Capabilities.Flags;
        return (flags & DEVICE_CAPABILITY_FLAGS.SurpriseRemovalOK) != 0 ? DEVICE_REMOVAL_POLICY.RemovalPolicyExpectSurpriseRemoval
            : (flags & (DEVICE_CAPABILITY_FLAGS.Removable | DEVICE_CAPABILITY_FLAGS.EjectSupported)) != 0 ? DEVICE_REMOVAL_POLICY.RemovalPolicyExpectOrderlyRemoval
            : DEVICE_REMOVAL_POLICY.RemovalPolicyExpectNoRemoval;
    }

    static byte[]? Text(string? text) => text is null ? null : Encoding.Unicode.GetBytes(text + '\0');

    static byte[]? Texts(IReadOnlyList<string> texts) => texts.Count == 0 ? null : Text(string.Concat(texts.Select(text => text + '\0')));

    static byte[] Number(uint value) => BitConverter.GetBytes(value);

    static byte[]? Bytes(ReadOnlyMemory<byte> content) => content.IsEmpty ? null : content.ToArray();

    /// <summary>Keeps a property with a device. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Lcid">Locale of a text, 0 for any.</param>
    /// <param name="Size">Bytes at <paramref name="Data"/>; with a null <paramref name="Data"/> the property is deleted.</param>
    /// <returns>STATUS_INVALID_DEVICE_REQUEST when the device object is no PDO; STATUS_INVALID_PARAMETER for a size without data.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS IoSetDevicePropertyData(PDEVICE_OBJECT Pdo, PDEVPROPKEY PropertyKey, uint Lcid, uint Flags, uint Type, uint Size, PVOID Data)
    {
        if (machine.PlugAndPlay.Find(Pdo) is not { } node) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        if (Data.IsNull && Size != 0) return NTSTATUS.STATUS_INVALID_PARAMETER;
        byte[] content = Size == 0 ? [] : GuestMemory.Read(Data.Address, checked((int)Size)).ToArray();
        lock (gate)
        {
            (Guid, uint, uint) key = (PropertyKey.fmtid, PropertyKey.pid, Lcid);
            if (Data.IsNull || Type == DevPropTypeEmpty) node.Properties.Remove(key);
            else node.Properties[key] = (Type, content);
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>A property that was kept with a device. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="RequiredSize">Bytes that the property has.</param>
    /// <param name="Type">DEVPROPTYPE that it was set with.</param>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND; STATUS_BUFFER_TOO_SMALL; STATUS_INVALID_DEVICE_REQUEST when the device object is no PDO.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS IoGetDevicePropertyData(
        PDEVICE_OBJECT Pdo, PDEVPROPKEY PropertyKey, uint Lcid, uint Flags, uint Size, PVOID Data, out uint RequiredSize, out uint Type)
    {
        RequiredSize = 0;
        Type = DevPropTypeEmpty;
        if (machine.PlugAndPlay.Find(Pdo) is not { } node) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        (uint Type, byte[] Content) property;
        lock (gate)
        {
            if (!node.Properties.TryGetValue((PropertyKey.fmtid, PropertyKey.pid, Lcid), out property)) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        }
        RequiredSize = (uint)property.Content.Length;
        Type = property.Type;
        if (property.Content.Length > Size) return NTSTATUS.STATUS_BUFFER_TOO_SMALL;
        property.Content.CopyTo(GuestMemory.Write(Data.Address, property.Content.Length));
        return NTSTATUS.STATUS_SUCCESS;
    }
}
